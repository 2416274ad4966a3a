//! The maps of an attachment: configuration in, counts out.

use std::{borrow::BorrowMut, collections::BTreeMap, path::Path};

use aya::{
    Ebpf,
    maps::{
        Array, Map, MapData, MapError, MapInfo, PerCpuArray,
        lpm_trie::{Key as TrieKey, LpmTrie},
    },
    programs::{ProgramInfo, loaded_programs},
};
use instamp_trailer::{Hook, Refusal, Site};
use nix::errno::Errno;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    Counters, Error, Policy, Prefix,
    error::{Context as _, errno},
    pins::{COUNTERS, Directory, POLICY, SITE},
    policy::Key,
};

const SITE_LENGTH: usize = size_of::<Site>();
type SiteBytes = [u8; SITE_LENGTH];

impl Directory {
    pub(crate) fn site(&self) -> Result<Site, Error> {
        let path = self.pin(SITE);
        let read = || {
            let map: Array<MapData, SiteBytes> = Map::Array(MapData::from_pin(&path)?).try_into()?;
            map.get(&0, 0)
        };
        let bytes = read().context("read", path.display())?;
        Site::read_from_bytes(&bytes).map_err(|error| error.to_string()).context("read", path.display())
    }

    pub(crate) fn set_site(&self, site: Site) -> Result<(), Error> {
        let path = self.pin(SITE);
        let write = || set_site(Map::Array(MapData::from_pin(&path)?).try_into()?, site);
        write().context("write", path.display())
    }

    /// The values of the prefixes: the standing that their addresses have, and for what the user has named them.
    pub(crate) fn policy(&self) -> Result<BTreeMap<Prefix, u32>, Error> {
        let path = self.pin(POLICY);
        let read = || open_policy(&path)?.iter().collect::<Result<Vec<_>, _>>();
        let entries = read().context("read", path.display())?;
        Ok(entries
            .into_iter()
            // An entry without standing says only that a wider one of IPv6 does not mean IPv4.
            .filter(|&(_, value)| value != 0)
            .map(|(key, value)| (Key { length: key.prefix_len(), address: key.data() }.into(), value))
            .collect())
    }

    /// Makes `policy` the policy, of the pinned map.
    pub(crate) fn set_policy(&self, policy: &Policy) -> Result<(), Error> {
        let path = self.pin(POLICY);
        let map = open_policy(&path).context("write", path.display())?;
        set_policy(map, policy, path.display())
    }

    pub(crate) fn counters(&self, hook: Hook) -> Result<Counters, Error> {
        let path = self.pin(COUNTERS);
        let read = || {
            let map: PerCpuArray<MapData, u64> = Map::PerCpuArray(MapData::from_pin(&path)?).try_into()?;
            let count = |outcome: u8| {
                let values = map.get(&(u32::from(hook.number()) * 16 + u32::from(outcome)), 0)?;
                Ok::<u64, MapError>(values.iter().sum())
            };
            let refused = Refusal::ALL.iter().map(|&refusal| Ok((refusal, count(refusal as u8)?)));
            Ok::<_, MapError>(Counters { stamped: count(0)?, refused: refused.collect::<Result<_, MapError>>()? })
        };
        read().context("read", path.display())
    }

    /// The programs that use the maps of this attachment, by the kernel's numbers.
    ///
    /// As programs are not pinned, there are such only while a hook holds them: this finds the filters of an attachment,
    /// and whether there are any in other network namespaces.
    pub(crate) fn programs(&self) -> Result<Vec<u32>, Error> {
        if self.has(SITE) { users(&self.pin(SITE)) } else { Ok(Vec::new()) }
    }
}

/// Writes the map of a program's configuration.
pub(crate) fn set_site<M: BorrowMut<MapData>>(mut map: Array<M, SiteBytes>, site: Site) -> Result<(), MapError> {
    let mut bytes = SiteBytes::default();
    bytes.copy_from_slice(site.as_bytes());
    map.set(0, bytes, 0)
}

/// Makes `policy` what a map says, which errors call `name`. New prefixes come before old ones go: an address that both allow is
/// allowed throughout.
pub(crate) fn set_policy<M: BorrowMut<MapData>>(
    mut map: LpmTrie<M, [u8; 16], u32>,
    policy: &Policy,
    name: impl ToString,
) -> Result<(), Error> {
    let entries = policy.entries();
    if entries.len() > Policy::CAPACITY {
        return Err(Error::PolicyTooLarge { prefixes: entries.len(), most: Policy::CAPACITY });
    }
    let mut write = || {
        let old: Vec<TrieKey<[u8; 16]>> = map.keys().collect::<Result<_, _>>()?;
        let old = old.into_iter().map(|key| Key { length: key.prefix_len(), address: key.data() });
        let obsolete: Vec<Key> = old.filter(|key| !entries.contains_key(key)).collect();
        // Where there is no room for both, some have to go first.
        let excess = (obsolete.len() + entries.len()).saturating_sub(Policy::CAPACITY);
        let (early, late) = obsolete.split_at(excess.min(obsolete.len()));
        for key in early {
            map.remove(&TrieKey::new(key.length, key.address))?;
        }
        for (key, &value) in &entries {
            map.insert(&TrieKey::new(key.length, key.address), value, 0)?;
        }
        for key in late {
            map.remove(&TrieKey::new(key.length, key.address))?;
        }
        Ok::<(), MapError>(())
    };
    write().context("write", name)
}

/// Writes what a program of its own stamps with, for the device of this name.
pub(crate) fn write_own(ebpf: &mut Ebpf, site: Site, policy: &Policy, device: &str) -> Result<(), Error> {
    let maps = format!("the maps of the XDP program for {device}");
    let map = found(ebpf, POLICY).and_then(|map| map.try_into()).context("open", &maps)?;
    set_policy(map, policy, &maps)?;
    found(ebpf, SITE).and_then(|map| set_site(map.try_into()?, site)).context("write", maps)
}

fn missing(name: &str) -> MapError {
    MapError::InvalidName { name: name.to_owned() }
}

/// A map of an object.
pub(crate) fn found<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map, MapError> {
    ebpf.map_mut(name).ok_or_else(|| missing(name))
}

/// A map of loaded programs: they could not be loaded without it.
pub(crate) fn taken<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M, MapError> {
    ebpf.take_map(name).ok_or_else(|| missing(name))?.try_into()
}

/// A pinned map of this kind.
pub(crate) fn open<M: TryFrom<Map, Error = MapError>>(pin: &Path, kind: fn(MapData) -> Map) -> Result<M, MapError> {
    kind(MapData::from_pin(pin)?).try_into()
}

/// The programs that use the map at a pin, by the kernel's numbers.
///
/// [`Error::Privilege`] without `CAP_SYS_ADMIN`, since to see none is not to know that there are none.
pub(crate) fn users(pin: &Path) -> Result<Vec<u32>, Error> {
    let map = MapInfo::from_pin(pin).context("read", pin.display())?.id();
    let user = |program: ProgramInfo| {
        let uses = program.map_ids()?.is_some_and(|maps| maps.contains(&map));
        Ok(uses.then_some(program.id()))
    };
    let users = loaded_programs().filter_map(|program| match program.and_then(user) {
        // Gone while the list is read.
        Err(error) if errno(&error) == Some(Errno::ENOENT) => None,
        user => user.transpose(),
    });
    users.collect::<Result<_, _>>().context("look for the programs that use", pin.display())
}

/// Fails where this process may not list the kernel's programs, by which an attachment is found again: to be told, and to be
/// taken apart.
///
/// # Errors
///
/// [`Error::Privilege`] without `CAP_SYS_ADMIN`.
pub(crate) fn require_listing() -> Result<(), Error> {
    match loaded_programs().next().transpose() {
        // Gone since it was listed: the kernel asks for the privilege first.
        Err(error) if errno(&error) == Some(Errno::ENOENT) => Ok(()),
        listed => listed.map(drop).context("list", "the programs of the kernel"),
    }
}

fn open_policy(path: &Path) -> Result<LpmTrie<MapData, [u8; 16], u32>, MapError> {
    Map::LpmTrie(MapData::from_pin(path)?).try_into()
}
