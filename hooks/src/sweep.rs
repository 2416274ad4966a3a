//! Taking attachments apart: on demand, and those that are dead or half made.

use std::io;

use crate::{
    Error, Notice,
    attachment::{Found, hooks, link, links, own_filters},
    card,
    containers::settle,
    device::Here,
    error::{Context as _, cause},
    pins::{Directory, PROGRAMS, Pins, State},
    reflector::sweep_reflector,
    sys,
};

/// What is to become of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Keep,
    Remove,
}

/// What the kernel still holds of an attachment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    /// A link that is on the device of the directory.
    links: bool,
    /// What only a command in its network namespace can undo: a filter, of whichever device; or what a card is set to, that is
    /// still there.
    inside: bool,
}

/// Removes what is dead or half made, in all network namespaces, as far as it can be reached from this one. Returns whether devices
/// have other programs since.
pub(crate) fn sweep(pins: &Pins, here: &Here, announce: &dyn Fn(Notice)) -> Result<bool, Error> {
    let mut changed = false;
    for directory in pins.directories()? {
        let is_here = directory.namespace == here.namespace;
        let held = match if is_here { held_here(here, &directory) } else { held_elsewhere(here, &directory) } {
            // Whoever may not look does not know that it is dead.
            Err(Error::Privilege { .. }) => continue,
            held => held?,
        };
        let verdict = verdict(directory.state, is_here, held);
        if verdict == Verdict::Keep && directory.state == State::Whole {
            match sweep_reflector(pins, &directory) {
                Err(Error::Privilege { .. }) => {}
                swept => changed |= swept?,
            }
        }
        if verdict == Verdict::Remove {
            // What cannot be put back now, as of a card that is down, is in nobody's way: it alone stays.
            if let Err(error) = card::restore(here, &directory, announce) {
                announce(Notice::CardNotRestored { words: format!("{error}: {}", cause(&error)) });
                release(here, &directory.become_state(State::Partial)?)?;
                continue;
            }
            if directory.state == State::Whole {
                // Its device is gone. What has the number now has its own queueing discipline.
                directory.disown_clsact()?;
            }
            dismantle(here, directory, announce)?;
        }
    }
    changed |= !settle(pins, here, announce)?.is_empty();
    pins.prune()?;
    Ok(changed)
}

fn verdict(state: State, is_here: bool, held: Held) -> Verdict {
    match (state, is_here, held) {
        (State::Whole, _, Held { links: false, inside: false }) => Verdict::Remove,
        (State::Whole, ..) => Verdict::Keep,
        // It waits for a command there.
        (State::Partial, false, Held { inside: true, .. }) => Verdict::Keep,
        (State::Partial, ..) => Verdict::Remove,
    }
}

fn held_here(here: &Here, directory: &Directory) -> Result<Held, Error> {
    let hooks = hooks(here, directory)?;
    let held = |with_link: bool| {
        hooks.iter().any(|Found { link, mechanism, .. }| mechanism.is_some() && link.is_some() == with_link)
    };
    Ok(Held { links: held(true), inside: held(false) })
}

/// Other network namespaces are not entered. A link tells its device's number, 0 when it is gone. A filter keeps its
/// program, which dies with it; so does a link, but that one's program is known from its pin.
fn held_elsewhere(here: &Here, directory: &Directory) -> Result<Held, Error> {
    let links = links(directory)?;
    // Where a network namespace ends, its network cards return to the first one, XDP programs included.
    let came_here = |program| here.links.iter().any(|device| device.xdp.is_some_and(|xdp| xdp.id == program));
    let held = links.iter().any(|link| link.ifindex == directory.ifindex && !came_here(link.program));
    // To look for filters is to ask for every program of the system: only where it decides.
    let decided = held && directory.state == State::Whole;
    let programs = if decided { Vec::new() } else { directory.programs()? };
    let filters = programs.iter().any(|program| links.iter().all(|link| link.program != *program));
    // What a card is to be set back to, a partial one keeps even when nothing else is left of it.
    let setting = (held || directory.state == State::Partial) && directory.setting()?.is_some();
    Ok(Held { links: held, inside: filters || setting })
}

/// Takes an attachment apart, whatever there is of it.
///
/// First the card is set as it was, while the hooks still tell that this is not done. Then it becomes partial: if this is
/// interrupted, the next command goes on.
pub(crate) fn dismantle(here: &Here, directory: Directory, announce: &dyn Fn(Notice)) -> Result<(), Error> {
    card::restore(here, &directory, announce)?;
    let directory = directory.become_state(State::Partial)?;
    release(here, &directory)?;
    directory.remove()
}

/// Takes off the hooks, and removes their pins.
fn release(here: &Here, directory: &Directory) -> Result<(), Error> {
    if directory.namespace == here.namespace {
        remove_filters(here, directory)?;
    }
    for program in PROGRAMS {
        if link(directory, program)?.is_some_and(|link| link.ifindex != 0) {
            let pin = directory.pin(program);
            sys::Link::open(&pin).and_then(|link| link.detach()).context("detach", pin.display())?;
        }
        directory.unpin(program)?;
    }
    directory.unpin_maps()
}

/// Removes the filters of the attachment, and the queueing discipline if it is ours and nobody else uses it.
fn remove_filters(here: &Here, directory: &Directory) -> Result<(), Error> {
    let Some(device) = here.by_index(directory.ifindex) else { return Ok(()) };
    for filter in own_filters(here, directory)? {
        here.route.remove_filter(device.ifindex, filter).context("remove a TC filter from", &device.name)?;
    }
    if !directory.owns_clsact() {
        return Ok(());
    }
    let unused =
        || io::Result::Ok(here.route.has_clsact(device.ifindex)? && here.route.filters(device.ifindex)?.is_empty());
    if unused().context("list the TC filters of", &device.name)? {
        here.route.remove_clsact(device.ifindex).context("remove the clsact queueing discipline from", &device.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_and_what_is_not_goes() {
        use State::{Partial, Whole};
        use Verdict::{Keep, Remove};

        let table = [
            // state, here, links, inside
            (Whole, true, true, true, Keep),
            (Whole, true, true, false, Keep),
            (Whole, true, false, true, Keep),
            (Whole, true, false, false, Remove),
            (Whole, false, true, false, Keep),
            (Whole, false, false, true, Keep),
            (Whole, false, false, false, Remove),
            (Partial, true, true, true, Remove),
            (Partial, true, true, false, Remove),
            (Partial, true, false, true, Remove),
            (Partial, true, false, false, Remove),
            (Partial, false, true, false, Remove),
            (Partial, false, false, false, Remove),
            (Partial, false, true, true, Keep),
            (Partial, false, false, true, Keep),
        ];
        for (state, here, links, inside, expected) in table {
            let held = Held { links, inside };
            assert_eq!(verdict(state, here, held), expected, "{state:?}, here: {here}, {held:?}");
        }
    }
}
