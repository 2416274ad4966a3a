//! The kernel's BPF objects: links, programs and maps, by their numbers, which no later ones get.

use std::{collections::BTreeSet, fs, os::fd::AsRawFd as _, path::Path};

use aya::{maps::loaded_maps, programs::loaded_programs};
use libbpf_rs::{Link, query::LinkInfoIter};

/// Some objects.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Objects {
    /// Links.
    pub links: BTreeSet<u32>,
    /// Programs.
    pub programs: BTreeSet<u32>,
    /// Maps.
    pub maps: BTreeSet<u32>,
}

impl Objects {
    /// All that there are now, whosever.
    pub fn all() -> Self {
        Self {
            links: LinkInfoIter::default().map(|link| link.id).collect(),
            // Those that go meanwhile cannot be looked at.
            programs: loaded_programs().flatten().map(|program| program.id()).collect(),
            maps: loaded_maps().flatten().map(|map| map.id()).collect(),
        }
    }

    /// What is pinned in a folder and those in it, the programs of the links there, and the maps of these.
    ///
    /// # Panics
    ///
    /// The folder cannot be read.
    pub fn pinned(folder: &Path) -> Self {
        let mut objects = Self::default();
        objects.add_pinned(folder);
        for program in loaded_programs().flatten().filter(|program| objects.programs.contains(&program.id())) {
            objects.maps.extend(program.map_ids().ok().flatten().into_iter().flatten());
        }
        objects
    }

    fn add_pinned(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            // What the kernel keeps there itself.
            if path.extension().is_some_and(|extension| extension == "debug") {
                continue;
            }
            if path.is_dir() {
                self.add_pinned(&path);
            } else if let Ok(object) = Link::open(&path) {
                // It opens any kind; which one it is its description says.
                let file = std::os::fd::AsFd::as_fd(&object).as_raw_fd();
                let description = fs::read_to_string(format!("/proc/self/fdinfo/{file}")).expect("a descriptor");
                for (name, value) in description.lines().filter_map(|line| line.split_once(':')) {
                    let numbers = match name {
                        "link_id" => &mut self.links,
                        "prog_id" => &mut self.programs,
                        "map_id" => &mut self.maps,
                        _ => continue,
                    };
                    numbers.extend(value.trim().parse::<u32>());
                }
            }
        }
    }

    /// Those of them that are still there.
    #[must_use]
    pub fn left(&self) -> Self {
        self.each_with(&Self::all(), |mine, all| mine & all)
    }

    /// Those that are not among these others.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        self.each_with(others, |mine, others| mine - others)
    }

    fn each_with(&self, other: &Self, both: fn(&BTreeSet<u32>, &BTreeSet<u32>) -> BTreeSet<u32>) -> Self {
        Self {
            links: both(&self.links, &other.links),
            programs: both(&self.programs, &other.programs),
            maps: both(&self.maps, &other.maps),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
