//! Built programs that the tests load by themselves.

use std::{borrow::Cow, fs, path::PathBuf};

/// A built object.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    name: &'static str,
    in_tree: &'static [u8],
}

/// The conversion of hardware times alone.
pub const CLOCK: Built = Built { name: "clock", in_tree: include_bytes!("../bpf/clock.o") };
/// Both ends of the metadata area.
pub const METADATA: Built = Built { name: "metadata", in_tree: include_bytes!("../bpf/metadata.o") };
/// The least that a program for AF_XDP does.
pub const REDIRECT: Built = Built { name: "redirect", in_tree: include_bytes!("../bpf/redirect.o") };
/// Witnesses of driver-tx.
pub const WITNESS: Built = Built { name: "witness", in_tree: include_bytes!("../bpf/witness.o") };
/// The program that hands on the card's receive times.
pub const NIC_RX: Built = Built { name: "nic_rx", in_tree: include_bytes!("../../hooks/bpf/nic_rx.o") };
/// The program that keeps the driver's times.
pub const DRIVER_TX: Built = Built { name: "driver_tx", in_tree: include_bytes!("../../hooks/bpf/driver_tx.o") };

impl Built {
    /// The one in the tree, and the freshly built one in the folder that `INSTAMP_BPF_OBJECTS` names.
    ///
    /// # Panics
    ///
    /// The folder is named and does not hold it.
    pub fn objects(self) -> Vec<(&'static str, Cow<'static, [u8]>)> {
        let mut objects = vec![("in the tree", Cow::Borrowed(self.in_tree))];
        if let Some(folder) = std::env::var_os("INSTAMP_BPF_OBJECTS").map(PathBuf::from) {
            let file = folder.join(self.name).with_extension("o");
            let fresh = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            objects.push(("freshly built", fresh.into()));
        }
        objects
    }

    /// The freshly built one, where there is any.
    pub fn newest(self) -> Cow<'static, [u8]> {
        let (_, object) = self.objects().pop().expect("the one in the tree");
        object
    }
}
