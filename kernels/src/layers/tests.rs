//! Values against the defining formula in f64, gradients against central differences of that formula.

use super::convolution::Patches;
use super::rope::Heads;
use super::*;

/// Numbers without a pattern that a kernel could share, between -1 and 1.
fn values(count: usize, salt: u32) -> Vec<f32> {
    (0..count as u32)
        .map(|i| {
            let mixed = (i ^ salt.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
            ((mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35) >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

/// Largest difference over largest value.
fn distance(found: &[f32], truth: &[f64]) -> f64 {
    assert_eq!(found.len(), truth.len());
    let largest = truth.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let worst = found
        .iter()
        .zip(truth)
        .fold(0.0f64, |a, (f, t)| a.max((f64::from(*f) - t).abs()));
    worst / largest
}

/// Central differences of `sum(grad * f(x))`.
fn differences(x: &[f64], grad: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let loss = |x: &[f64]| f(x).iter().zip(grad).map(|(y, g)| y * f64::from(*g)).sum::<f64>();
    (0..x.len())
        .map(|i| {
            let step = 1e-5;
            let mut moved = x.to_vec();
            moved[i] = x[i] + step;
            let above = loss(&moved);
            moved[i] = x[i] - step;
            (above - loss(&moved)) / (2.0 * step)
        })
        .collect()
}

#[test]
fn rms_norm_and_its_gradients() {
    const EPS: f32 = 1e-5;
    let (width, rows) = (37, 3);
    let (x, weight, grad) = (values(rows * width, 1), values(width, 2), values(rows * width, 3));
    let truth = |x: &[f64], weight: &[f64]| -> Vec<f64> {
        x.chunks(width)
            .flat_map(|row| {
                let root = (row.iter().map(|v| v * v).sum::<f64>() / width as f64 + f64::from(EPS)).sqrt();
                row.iter().zip(weight).map(|(x, w)| x / root * w).collect::<Vec<_>>()
            })
            .collect()
    };
    let mut out = vec![0.0; x.len()];
    rms_norm::forward(&x, &weight, EPS, &mut out);
    assert!(distance(&out, &truth(&wide(&x), &wide(&weight))) < 1e-6);
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; width]);
    rms_norm::backward(&x, &weight, EPS, &grad, &mut dx, &mut dweight);
    assert!(distance(&dx, &differences(&wide(&x), &grad, |x| truth(x, &wide(&weight)))) < 1e-6);
    assert!(
        distance(
            &dweight,
            &differences(&wide(&weight), &grad, |weight| truth(&wide(&x), weight))
        ) < 1e-6
    );
}

#[test]
fn softmax_sees_its_range_alone() {
    let (rows, heads, width) = (2, 2, 5);
    let first = [0, 0, 0, 3, 3, 0, 0, 1, 2, 4];
    let scores = values(rows * heads * width * width, 4);
    let grad = values(scores.len(), 5);
    let truth = |scores: &[f64]| -> Vec<f64> {
        let mut out = vec![0.0; scores.len()];
        for (index, row) in scores.chunks(width).enumerate() {
            let (batch, position) = (index / (heads * width), index % width);
            let seen = first[batch * width + position] as usize..position + 1;
            let sum: f64 = row[seen.clone()].iter().map(|s| s.exp()).sum();
            for key in seen {
                out[index * width + key] = row[key].exp() / sum;
            }
        }
        out
    };
    let mut p = scores.clone();
    attention::softmax(&mut p, &first, heads, width);
    assert!(distance(&p, &truth(&wide(&scores))) < 1e-6);
    let mut ds = grad.clone();
    attention::softmax_backward(&p, &mut ds, width);
    assert!(distance(&ds, &differences(&wide(&scores), &grad, truth)) < 1e-6);
}

#[test]
fn rope_rotates_and_its_gradient_rotates_back() {
    let sizes = Heads {
        width: 3,
        heads: 2,
        head_dim: 4,
    };
    let (rows, half) = (2, 2);
    let x = values(rows * 24, 6);
    let angles = wide(&values(rows * 3 * half, 7));
    let cos: Vec<f32> = angles.iter().map(|a| a.cos() as f32).collect();
    let sin: Vec<f32> = angles.iter().map(|a| a.sin() as f32).collect();
    let truth = |x: &[f64]| -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for (row, head, position) in (0..rows).flat_map(|r| (0..2).flat_map(move |h| (0..3).map(move |p| (r, h, p)))) {
            for i in 0..half {
                let from = ((row * 3 + position) * 2 + head) * 4 + i;
                let to = ((row * 2 + head) * 3 + position) * 4 + i;
                let (sin, cos) = angles[(row * 3 + position) * half + i].sin_cos();
                out[to] = x[from] * cos - x[from + half] * sin;
                out[to + half] = x[from + half] * cos + x[from] * sin;
            }
        }
        out
    };
    let mut out = vec![0.0; x.len()];
    rope::forward(&x, &cos, &sin, sizes, &mut out);
    assert!(distance(&out, &truth(&wide(&x))) < 1e-6);
    let grad = values(x.len(), 8);
    let mut dx = vec![0.0; x.len()];
    rope::backward(&grad, &cos, &sin, sizes, &mut dx);
    assert!(distance(&dx, &differences(&wide(&x), &grad, truth)) < 1e-6);
    // A table of one row serves every row.
    let mut shared = vec![0.0; x.len()];
    rope::forward(&x, &cos[..6], &sin[..6], sizes, &mut shared);
    assert_eq!(shared[..24], out[..24]);
}

#[test]
fn swiglu_and_its_gradients() {
    let gate: Vec<f32> = values(70, 9).iter().map(|x| 6.0 * x).collect();
    let (up, grad) = (values(70, 10), values(70, 11));
    let truth = |gate: &[f64], up: &[f64]| -> Vec<f64> {
        gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
    };
    let mut out = vec![0.0; 70];
    activation::swiglu(&gate, &up, &mut out);
    assert!(distance(&out, &truth(&wide(&gate), &wide(&up))) < 1e-6);
    let (mut dgate, mut dup) = (vec![0.0; 70], vec![0.0; 70]);
    activation::swiglu_backward(&gate, &up, &grad, &mut dgate, &mut dup);
    assert!(
        distance(
            &dgate,
            &differences(&wide(&gate), &grad, |gate| truth(gate, &wide(&up)))
        ) < 1e-6
    );
    assert!(distance(&dup, &differences(&wide(&up), &grad, |up| truth(&wide(&gate), up))) < 1e-6);
}

#[test]
fn batch_norm_and_its_gradients() {
    const EPS: f32 = 1e-5;
    // More rows than one block, so that blocks are added up.
    let (rows, channels) = (2 * BLOCK_ROWS + 5, 3);
    let (x, scale, shift) = (values(rows * channels, 12), values(channels, 13), values(channels, 14));
    let grad = values(x.len(), 15);
    let truth = |x: &[f64], scale: &[f64], shift: &[f64]| -> Vec<f64> {
        let mean_of = |c: usize, f: &dyn Fn(f64) -> f64| {
            x.iter().skip(c).step_by(channels).map(|x| f(*x)).sum::<f64>() / rows as f64
        };
        let mean: Vec<f64> = (0..channels).map(|c| mean_of(c, &|x| x)).collect();
        let root: Vec<f64> = (0..channels)
            .map(|c| (mean_of(c, &|x| (x - mean[c]) * (x - mean[c])) + f64::from(EPS)).sqrt())
            .collect();
        x.iter()
            .enumerate()
            .map(|(i, x)| scale[i % channels] * (x - mean[i % channels]) / root[i % channels] + shift[i % channels])
            .collect()
    };
    let (wide_x, wide_scale, wide_shift) = (wide(&x), wide(&scale), wide(&shift));
    let statistics = batch_norm::statistics(&x, channels);
    let mut out = vec![0.0; x.len()];
    batch_norm::forward(&x, &scale, &shift, &statistics, EPS, &mut out);
    assert!(distance(&out, &truth(&wide_x, &wide_scale, &wide_shift)) < 1e-6);
    let (mut dx, mut dscale, mut dshift) = (vec![0.0; x.len()], vec![0.0; channels], vec![0.0; channels]);
    batch_norm::backward(&x, &scale, &statistics, EPS, &grad, (&mut dx, &mut dscale, &mut dshift));
    assert!(
        distance(
            &dx,
            &differences(&wide_x, &grad, |x| truth(x, &wide_scale, &wide_shift))
        ) < 1e-5
    );
    assert!(
        distance(
            &dscale,
            &differences(&wide_scale, &grad, |scale| truth(&wide_x, scale, &wide_shift))
        ) < 1e-5
    );
    assert!(
        distance(
            &dshift,
            &differences(&wide_shift, &grad, |shift| truth(&wide_x, &wide_scale, shift))
        ) < 1e-5
    );
}

#[test]
fn patches_hold_what_lies_under_the_kernel() {
    for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 2, 0), (2, 1, 0), (5, 3, 2)] {
        let sizes = Patches {
            height: 5,
            width: 6,
            channels: 2,
            kernel,
            stride,
            padding,
        };
        let (height, width) = sizes.output();
        let images = values(2 * 60, 16);
        let mut found = vec![0.0; 2 * height * width * sizes.patch()];
        convolution::patches(&images, sizes, &mut found);
        let grad = values(found.len(), 17);
        let mut truth_back = vec![0.0f64; images.len()];
        for (index, value) in found.iter().enumerate() {
            let (channel, kx, ky) = (index % 2, index / 2 % kernel, index / (2 * kernel) % kernel);
            let output = index / sizes.patch();
            let (column, row, image) = (output % width, output / width % height, output / (width * height));
            let y = (row * stride + ky).checked_sub(padding).filter(|y| *y < 5);
            let x = (column * stride + kx).checked_sub(padding).filter(|x| *x < 6);
            let pixel = y.zip(x).map(|(y, x)| ((image * 5 + y) * 6 + x) * 2 + channel);
            assert_eq!(*value, pixel.map_or(0.0, |pixel| images[pixel]), "{sizes:?} at {index}");
            if let Some(pixel) = pixel {
                truth_back[pixel] += f64::from(grad[index]);
            }
        }
        let mut back = vec![0.0; images.len()];
        convolution::patches_backward(&grad, sizes, &mut back);
        assert!(distance(&back, &truth_back) < 1e-6);
    }
}
