//! The compiled programs.

use std::{borrow::Cow, fs, io, path::Path};

/// The two objects that hold the programs, as ELF files: one for the XDP hook, one for the TC hooks.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The object with the program `xdp_ingress`.
    pub xdp: Cow<'static, [u8]>,
    /// The object with the programs `tc_egress` and `tc_ingress`.
    pub tc: Cow<'static, [u8]>,
}

impl Objects {
    /// Those that were built with this version.
    pub fn built_in() -> Self {
        Self {
            xdp: Cow::Borrowed(aya::include_bytes_aligned!("../bpf/xdp.o")),
            tc: Cow::Borrowed(aya::include_bytes_aligned!("../bpf/tc.o")),
        }
    }

    /// `xdp.o` and `tc.o` of a directory.
    ///
    /// # Errors
    ///
    /// That of reading either.
    pub fn read(directory: &Path) -> io::Result<Self> {
        Ok(Self { xdp: fs::read(directory.join("xdp.o"))?.into(), tc: fs::read(directory.join("tc.o"))?.into() })
    }
}
