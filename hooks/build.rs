//! Makes Rust modules of the programs in C: skeletons, which load the built objects.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for name in ["driver_tx", "nic_tx", "nic_rx", "watch"] {
        let object = format!("bpf/{name}.o");
        println!("cargo:rerun-if-changed={object}");
        libbpf_cargo::SkeletonBuilder::new().obj(&object).generate(out.join(name).with_extension("rs"))?;
    }
    Ok(())
}
