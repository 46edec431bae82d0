//! Names of devices and number formats, as flags and configurations give them.

use candle_core::{DType, Device};

use crate::{Error, Result};

/// `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// When the name is another, when this build has no CUDA, or when the device cannot be opened.
pub fn parse_device(name: &str) -> Result<Device> {
    let ordinal = match (name, name.strip_prefix("cuda:")) {
        ("cpu", _) => return Ok(Device::Cpu),
        ("cuda", _) => 0,
        (_, Some(number)) => number.parse().map_err(|_| unknown_device(name))?,
        _ => return Err(unknown_device(name)),
    };
    if !cfg!(feature = "cuda") {
        return Err(Error::Device(format!(
            "device `{name}`: this build has no CUDA; build with `--features cuda` or use `cpu`"
        )));
    }
    Device::new_cuda(ordinal).map_err(|error| Error::Device(format!("device `{name}`: {error}")))
}

fn unknown_device(name: &str) -> Error {
    Error::Device(format!("unknown device `{name}`; known: cpu, cuda, cuda:N"))
}

/// `f32`, `f16` or `bf16`.
///
/// # Errors
/// When the name is another.
pub fn parse_dtype(name: &str) -> Result<DType> {
    match name {
        "f32" => Ok(DType::F32),
        "f16" => Ok(DType::F16),
        "bf16" => Ok(DType::BF16),
        _ => Err(Error::Device(format!(
            "unknown number format `{name}`; known: f32, f16, bf16"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(parse_device("cpu").unwrap().is_cpu());
        assert!(
            parse_device("tpu")
                .unwrap_err()
                .to_string()
                .contains("known: cpu, cuda, cuda:N")
        );
        assert!(
            parse_device("cuda:x")
                .unwrap_err()
                .to_string()
                .contains("unknown device")
        );
        assert_eq!(parse_dtype("bf16").unwrap(), DType::BF16);
        assert!(
            parse_dtype("f64")
                .unwrap_err()
                .to_string()
                .contains("known: f32, f16, bf16")
        );
    }
}
