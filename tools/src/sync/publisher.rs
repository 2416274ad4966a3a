//! Where the model of a clock goes: a file that any process maps, and a BPF map that programs in the kernel convert with.

use std::{
    mem,
    path::{Path, PathBuf},
};

use instamp_clockmap::{Device, Directory, Model, Writer};

pub(super) struct Publisher {
    file: Writer,
    /// Or why there is none: it needs a mounted bpffs and privilege, and the file does without.
    map: Result<Writer, String>,
}

impl Publisher {
    /// Refused where another process publishes the model of this clock there.
    pub(super) fn new(directory: &Path, device: Device) -> anyhow::Result<Self> {
        let file = Writer::create(&Directory::new(directory), device)?;
        let map = crate::hooks().and_then(|hooks| hooks.clock_writer(device));
        Ok(Self { file, map: map.map_err(|error| format!("{:#}", anyhow::Error::from(error))) })
    }

    pub(super) fn file(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    pub(super) fn map(&self) -> Result<PathBuf, String> {
        self.map.as_ref().map(|writer| writer.path().to_owned()).map_err(Clone::clone)
    }

    /// The epoch that readers of the file see.
    pub(super) fn epoch(&self) -> u64 {
        self.file.epoch()
    }

    /// `None` withdraws what was published before.
    pub(super) fn publish(&mut self, model: Option<&Model>, now_ns: u64) -> anyhow::Result<()> {
        for writer in self.writers() {
            match model {
                Some(model) => writer.publish(model)?,
                None => writer.withdraw(now_ns),
            }
        }
        Ok(())
    }

    pub(super) fn withdraw(&mut self, now_ns: u64) {
        self.writers().for_each(|writer| writer.withdraw(now_ns));
    }

    fn writers(&mut self) -> impl Iterator<Item = &mut Writer> {
        [Some(&mut self.file), self.map.as_mut().ok()].into_iter().flatten()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Ok(writer) = mem::replace(&mut self.map, Err(String::new())) {
            drop(writer);
            // A map that no program uses is of no use without its publisher. Where this fails the next command does it.
            let _ = crate::hooks().and_then(|hooks| hooks.sweep());
        }
    }
}
