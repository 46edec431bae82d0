//! The one place that chooses an instruction set: a kernel is a value whose body is compiled for each of them.

use std::sync::OnceLock;

use pulp::{Arch, NullaryFnOnce};

/// The environment variable that lowers the kernel path: `portable`, `avx2` or `avx512`.
///
/// It has no say in products: the `gemm` crate takes the best set that the CPU has. Equal bits on two machines need CPUs
/// with the same sets, and not only the same path.
pub const KERNEL_PATH_VARIABLE: &str = "DECANT_KERNEL_PATH";

const PATHS: [&str; 3] = ["portable", "avx2", "avx512"];

/// The environment asks for a kernel path that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{KERNEL_PATH_VARIABLE} is {0:?}, which is no kernel path: use portable, avx2 or avx512")]
pub struct UnknownKernelPath(String);

/// A kernel: its inputs, and a body that is compiled once per instruction set. Mark the body `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;

    /// `FUSED`: a multiplication and an addition are one instruction; where they are not, a fused one is a slow call.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Runs a kernel on the chosen path.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    match arch() {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(simd) => simd.vectorize(Fused(kernel)),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(simd) => simd.vectorize(Fused(kernel)),
        _ => kernel.run::<{ cfg!(any(target_arch = "aarch64", target_feature = "fma")) }>(),
    }
}

/// Instruction set in use: `avx512`, `avx2` or `portable`. [`KERNEL_PATH_VARIABLE`] lowers it; a set that the CPU
/// lacks is never used.
pub fn kernel_path() -> &'static str {
    PATHS[level(arch())]
}

/// Checks [`KERNEL_PATH_VARIABLE`], so that a typing error is an error. An unknown value runs the portable path.
///
/// # Errors
/// The variable is set and names no kernel path.
pub fn check_environment() -> Result<(), UnknownKernelPath> {
    match std::env::var(KERNEL_PATH_VARIABLE) {
        Ok(name) if !PATHS.contains(&name.as_str()) => Err(UnknownKernelPath(name)),
        _ => Ok(()),
    }
}

struct Fused<K>(K);

impl<K: Kernel> NullaryFnOnce for Fused<K> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.0.run::<true>()
    }
}

fn arch() -> Arch {
    static CHOSEN: OnceLock<Arch> = OnceLock::new();
    *CHOSEN.get_or_init(|| match std::env::var(KERNEL_PATH_VARIABLE) {
        Ok(name) => lowered(PATHS.iter().position(|path| *path == name).unwrap_or(0)),
        Err(_) => Arch::new(),
    })
}

/// The best path that is no higher than `limit`, an index into [`PATHS`].
fn lowered(limit: usize) -> Arch {
    let best = Arch::new();
    if level(best) <= limit {
        return best;
    }
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if limit == 1 {
        return pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3);
    }
    Arch::Scalar
}

fn level(arch: Arch) -> usize {
    match arch {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(_) => 2,
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(_) => 1,
        _ => 0,
    }
}
