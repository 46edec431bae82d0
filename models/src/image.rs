//! Images: from PNG or JPEG to what a model reads.

use std::io::Cursor;
use std::path::Path;

use candle_core::Tensor;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageReader};

use crate::config::Keys;
use crate::{Batch, Error, ImageShape, ModelConfig, Result};

/// Turns encoded images into numbers as `preprocessor_config.json` says: rescaled, then normalised by channel.
///
/// It never resizes: images of another size than the model's are refused, so that no resampling differs silently from
/// the one that the model was trained with.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageProcessor {
    shape: ImageShape,
    /// What a pixel of 0..=255 is multiplied by.
    factor: f32,
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl ImageProcessor {
    /// Pixels over 255, with no normalisation.
    pub fn plain(shape: ImageShape) -> Self {
        Self {
            shape,
            factor: 1.0 / 255.0,
            mean: vec![0.0; shape.channels],
            deviation: vec![1.0; shape.channels],
        }
    }

    /// Reads a `preprocessor_config.json` (`do_rescale`, `rescale_factor`, `do_normalize`, `image_mean`, `image_std`)
    /// for a model that reads images of `shape`; `path` is for messages.
    ///
    /// # Errors
    /// When a key has the wrong type, or a mean or deviation is not given for each channel.
    pub fn parse(json: &[u8], path: &Path, shape: ImageShape) -> Result<Self> {
        let keys = Keys::parse(json, path)?;
        let factor = match keys.flag("do_rescale", true)? {
            true => keys.optional_number("rescale_factor")?.unwrap_or(1.0 / 255.0),
            false => 1.0,
        };
        let mut processor = Self {
            factor: factor as f32,
            ..Self::plain(shape)
        };
        if keys.flag("do_normalize", true)? {
            processor.mean = channel_values(&keys, "image_mean", shape.channels, 0.0)?;
            processor.deviation = channel_values(&keys, "image_std", shape.channels, 1.0)?;
            if processor.deviation.contains(&0.0) {
                return Err(keys.error("key `image_std` has a 0, by which pixels would be divided"));
            }
        }
        Ok(processor)
    }

    /// The size of what it gives.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// `[channels, height, width]`, in this order. A grey image for a model of colours is repeated for each channel.
    ///
    /// # Errors
    /// When the bytes are no PNG or JPEG, have another size than the model reads, are coloured where it reads grey,
    /// or have transparency or more than 8 bits a channel.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<f32>> {
        let broken = |error: ImageError| Error::Image(format!("cannot be read: {error}"));
        let ImageShape {
            channels,
            height,
            width,
        } = self.shape;
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let decoder = reader.map_err(ImageError::IoError).and_then(ImageReader::into_decoder);
        let decoder = decoder.map_err(broken)?;
        // before a pixel is decoded: a few bytes can announce an image that fills the memory
        let (found_width, found_height) = decoder.dimensions();
        if (found_height as usize, found_width as usize) != (height, width) {
            return Err(Error::Image(format!(
                "is {found_height} pixels high and {found_width} wide, the model reads {height} and {width}; resize it \
                 first"
            )));
        }
        let image = DynamicImage::from_decoder(decoder).map_err(broken)?;
        let pixels = self.pixels(image)?;
        let stored = pixels.len() / (height * width);
        let mut values = Vec::with_capacity(self.shape.values());
        for channel in 0..channels {
            let (mean, deviation) = (self.mean[channel], self.deviation[channel]);
            let of_channel = pixels.iter().skip(channel % stored).step_by(stored);
            values.extend(of_channel.map(|pixel| (f32::from(*pixel) * self.factor - mean) / deviation));
        }
        Ok(values)
    }

    /// One byte for each pixel, or three.
    fn pixels(&self, image: DynamicImage) -> Result<Vec<u8>> {
        match (image.color(), self.shape.channels) {
            (ColorType::L8, 1 | 3) => Ok(image.into_luma8().into_raw()),
            (ColorType::Rgb8, 3) => Ok(image.into_rgb8().into_raw()),
            (ColorType::Rgb8, channels) => Err(Error::Image(format!(
                "is coloured, the model reads {channels} channel(s); convert it to grey first"
            ))),
            (color, channels) => Err(Error::Image(format!(
                "is of type {color:?}, the model reads {channels} channel(s) of 8 bits without transparency; convert it first"
            ))),
        }
    }
}

fn channel_values(keys: &Keys<'_>, key: &str, channels: usize, default: f32) -> Result<Vec<f32>> {
    let Some(values) = keys.optional_numbers(key)? else {
        return Ok(vec![default; channels]);
    };
    match values.len() {
        1 => Ok(vec![values[0] as f32; channels]),
        found if found == channels => Ok(values.into_iter().map(|value| value as f32).collect()),
        found => Err(keys.error(format!(
            "key `{key}` has {found} entries, the model reads {channels} channel(s)"
        ))),
    }
}

/// The images of a batch, if they are what the model reads, in the number format of its weights.
pub(crate) fn checked(batch: &Batch, config: &ModelConfig, weight: &Tensor) -> Result<Tensor> {
    let Batch::Images(images) = batch else {
        return Err(Error::Batch("of token sequences was given to an image model".into()));
    };
    let wanted = config
        .image_shape()
        .map(|shape| [shape.channels, shape.height, shape.width]);
    match (images.dims(), wanted) {
        ([n, shape @ ..], Some(wanted)) if *n > 0 && *shape == wanted => Ok(images.to_dtype(weight.dtype())?),
        (found, wanted) => Err(Error::Batch(format!(
            "of images has shape {found:?}, the model reads [n, channels, height, width] = [n, {}]",
            wanted.unwrap_or_default().map(|size| size.to_string()).join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    const SHAPE: ImageShape = ImageShape {
        channels: 3,
        height: 1,
        width: 2,
    };

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn parse(json: &str) -> Result<ImageProcessor> {
        ImageProcessor::parse(json.as_bytes(), Path::new("preprocessor_config.json"), SHAPE)
    }

    #[test]
    fn channels_come_one_after_the_other_and_are_normalised() {
        let bytes = png(RgbImage::from_raw(2, 1, vec![0, 51, 102, 255, 204, 153]).unwrap());
        let plain = ImageProcessor::plain(SHAPE).decode(&bytes).unwrap();
        assert_eq!(
            plain.iter().map(|v| (v * 255.0).round()).collect::<Vec<_>>(),
            [0., 255., 51., 204., 102., 153.]
        );
        let processor = parse(r#"{"image_mean": [0.5, 0.2, 0.4], "image_std": [0.5, 0.1, 0.2]}"#).unwrap();
        let normal = processor.decode(&bytes).unwrap();
        for (found, truth) in normal.iter().zip([-1.0, 1.0, 0.0, 6.0, 0.0, 1.0]) {
            assert!((found - truth).abs() < 1e-5, "{normal:?}");
        }
        let raw = parse(r#"{"do_rescale": false, "do_normalize": false}"#).unwrap();
        assert_eq!(raw.decode(&bytes).unwrap(), [0., 255., 51., 204., 102., 153.]);
    }

    #[test]
    fn grey_serves_for_colour_but_not_the_other_way() {
        let grey = png(image::GrayImage::from_raw(2, 1, vec![10, 20]).unwrap());
        let raw = parse(r#"{"do_rescale": false, "do_normalize": false}"#).unwrap();
        assert_eq!(raw.decode(&grey).unwrap(), [10., 20., 10., 20., 10., 20.]);
        let reads_grey = ImageProcessor::plain(ImageShape { channels: 1, ..SHAPE });
        let message = reads_grey
            .decode(&png(RgbImage::from_pixel(2, 1, Rgb([1, 2, 3]))))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("coloured") && message.contains("1 channel(s)"),
            "{message}"
        );
    }

    #[test]
    fn what_cannot_be_read_exactly_is_refused() {
        let plain = ImageProcessor::plain(SHAPE);
        let refusal = |bytes: &[u8]| plain.decode(bytes).unwrap_err().to_string();
        let size = refusal(&png(RgbImage::new(3, 4)));
        assert!(
            size.contains("4 pixels high and 3 wide") && size.contains("1 and 2"),
            "{size}"
        );
        // cut where the pixels begin: their size is known and refused before that
        assert!(refusal(&png(RgbImage::new(3, 4))[..45]).contains("4 pixels high"));
        assert!(refusal(&png(RgbaImage::from_pixel(2, 1, Rgba([1, 2, 3, 4])))).contains("transparency"));
        assert!(refusal(b"not an image").contains("cannot be read"));
        let message = parse(r#"{"image_mean": [0.5, 0.5]}"#).unwrap_err().to_string();
        assert!(message.contains("`image_mean` has 2 entries"), "{message}");
    }
}
