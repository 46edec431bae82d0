//! Generates the Rust code and the descriptor set of `decant.v1` with protox, so that nobody needs protoc.

use std::path::{Path, PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=decant");
    let mut files = std::fs::read_dir(Path::new("decant/v1"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    files.sort();

    let descriptors = protox::compile(files, ["."])?;
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out_dir.join("decant.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(&out_dir)
        .compile_fds(descriptors)?;
    Ok(())
}
