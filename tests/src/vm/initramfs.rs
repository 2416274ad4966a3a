//! The file system that a kernel starts with: programs, what they are linked with, and modules.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{Kernel, modules};
use crate::installed;

/// Files by their paths.
#[derive(Default)]
pub struct Initramfs {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Initramfs {
    /// Where [`modules`](Self::modules) are, to be loaded in the order of their names.
    pub const MODULES: &str = "/modules";

    /// Adds a file.
    ///
    /// # Panics
    ///
    /// It cannot be read.
    pub fn file(&mut self, from: &Path, to: &str) {
        self.files.insert(to.into(), read(from));
    }

    /// Adds the program `from` as `to`, with the libraries that it is linked with.
    ///
    /// # Panics
    ///
    /// It cannot be read, or a library is missing.
    pub fn program(&mut self, from: &Path, to: &str) {
        self.file(from, to);
        for library in installed::libraries(from) {
            self.files.entry(library).or_insert_with_key(|library| read(library));
        }
    }

    /// Adds a program of this machine, in `/bin`.
    ///
    /// # Panics
    ///
    /// There is none of this name.
    pub fn tool(&mut self, name: &str) {
        let path = installed::path(name);
        self.program(&path, &format!("/bin/{name}"));
    }

    /// Adds modules of the kernel, and those that they need.
    ///
    /// # Panics
    ///
    /// It has no such module.
    pub fn modules(&mut self, kernel: &Kernel, names: &[&str]) {
        for (number, (name, module)) in modules::ordered(&kernel.modules, names).into_iter().enumerate() {
            self.files.insert(format!("{}/{number:03}-{name}.ko", Self::MODULES).into(), module);
        }
    }

    /// Writes it to a file, as an archive that the kernel reads.
    ///
    /// # Errors
    ///
    /// That of writing.
    pub fn write(&self, to: &Path) -> io::Result<()> {
        let mut out = io::BufWriter::new(fs::File::create(to)?);
        let mut folders: Vec<&Path> = self.files.keys().flat_map(|path| path.ancestors().skip(1)).collect();
        folders.sort_unstable();
        folders.dedup();
        for folder in folders.into_iter().filter(|folder| *folder != "/") {
            entry(&mut out, folder, 0o040_755, &[])?;
        }
        for (path, content) in &self.files {
            entry(&mut out, path, 0o100_755, content)?;
        }
        entry(&mut out, Path::new("/TRAILER!!!"), 0, &[])?;
        out.flush()
    }
}

/// One entry of a cpio archive in the format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).
fn entry(out: &mut impl io::Write, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let name = path.to_str().expect("text").trim_start_matches('/');
    let (inode, owner, group, links, time, device) = (0, 0, 0, 1, 0, 0);
    let [length, name_length] = [content.len(), name.len() + 1].map(|length| u32::try_from(length).expect("short"));
    let fields = [inode, mode, owner, group, links, time, length, device, device, device, device, name_length, 0];
    out.write_all(b"070701")?;
    for field in fields {
        write!(out, "{field:08X}")?;
    }
    out.write_all(name.as_bytes())?;
    // The header has 110 bytes; name and content end at multiples of 4.
    out.write_all(&[0; 4][..1 + padding(110 + name.len() + 1)])?;
    out.write_all(content)?;
    out.write_all(&[0; 4][..padding(content.len())])
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_end_at_multiples_of_four() {
        for length in 0..5 {
            let mut out = Vec::new();
            let (path, content) = ("/abcdef"[..=length + 1].to_owned(), vec![0xa5; length]);
            entry(&mut out, Path::new(&path), 0o100_755, &content).expect("memory");
            assert_eq!(out.len() % 4, 0, "{path}");
            let start = (110 + path.len()).next_multiple_of(4);
            assert_eq!(out[start..][..length], content, "{path}");
            assert_eq!(&out[54..62], format!("{length:08X}").as_bytes());
        }
    }
}
