//! Loaders of the objects: with the maps of an attachment, or with maps of their own.

use aya::EbpfLoader;
use instamp_clockmap::Device;

use crate::{
    Error,
    pins::{Directory, MAPS, Pins},
    sent::{Requests, SHARED},
};

/// The map with which programs convert times of a card.
const CLOCK: &str = "CLOCK";
/// That of the sources of reflected requests, the largest, which one program alone uses.
const SOURCES: &str = "SOURCES";

/// For a program that shares nothing with attachments, and looks for no requests.
pub(crate) fn alone() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    share_requests(&mut loader, None);
    loader
}

/// For programs of an attachment: the first object that is loaded makes the maps in the directory, the next one shares them, and
/// the table of requests that have left, where these are watched.
pub(crate) fn sharing(directory: &Directory, requests: Option<&Requests>) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for name in MAPS {
        loader.map_pin_path(name, directory.pin(name));
    }
    share_requests(&mut loader, requests);
    loader
}

fn share_requests(loader: &mut EbpfLoader<'static>, requests: Option<&Requests>) {
    for name in SHARED {
        match requests.and_then(|requests| requests.shared(name)) {
            Some(pin) => loader.map_pin_path(name, pin),
            // Nothing writes to it.
            None => loader.map_max_entries(name, 1),
        };
    }
}

/// Has programs convert times of this clock, where they can read its model: says why not where they cannot.
pub(crate) fn convert(loader: &mut EbpfLoader<'static>, pins: &Pins, phc: u32) -> Result<Result<(), String>, Error> {
    match pins.clocks().readers(Device::Phc(phc)) {
        Ok(pin) => {
            loader.map_pin_path(CLOCK, pin);
            Ok(Ok(()))
        }
        Err(error @ Error::WeakOrder { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// For objects of which no program remembers sources.
pub(crate) fn without_sources(loader: &mut EbpfLoader<'static>) {
    loader.map_max_entries(SOURCES, 1);
}
