//! TC programs on their hooks: as TCX links, or as filters of a `clsact` queueing discipline.

use std::mem;

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::FdLink,
    tc::{NlOptions, TcAttachOptions, qdisc_add_clsact},
};
use nix::errno::Errno;

use crate::{
    Error, TcMode,
    device::Here,
    error::{Context as _, errno},
    netlink::route::Link,
    pins::{Directory, TC_INGRESS},
};

/// The lowest priority: before all others. Of filters with the same priority the newest is the first.
const FIRST: u16 = 1;
/// The highest priority, which the kernel gives to no filter by itself: after all others.
const LAST: u16 = u16::MAX;
/// A free priority of the kernel's choice.
const ANY: u16 = 0;

/// Attaches the loaded program `name` and keeps it there: first on the way in, last on the way out.
pub(crate) fn attach(
    here: &Here,
    link: &Link,
    directory: &Directory,
    mode: TcMode,
    name: &'static str,
    program: &mut SchedClassifier,
) -> Result<(), Error> {
    let hook = if name == TC_INGRESS { TcAttachType::Ingress } else { TcAttachType::Egress };
    match mode {
        TcMode::Tcx => attach_tcx(link, directory, hook, name, program),
        TcMode::Clsact => {
            if !here.route.has_clsact(link.ifindex).context("list the queueing disciplines of", &link.name)? {
                directory.own_clsact()?;
                qdisc_add_clsact(&link.name).context("add a clsact queueing discipline to", &link.name)?;
            }
            attach_filter(link, hook, program).context("add a TC filter to", &link.name)
        }
    }
}

fn attach_tcx(
    link: &Link,
    directory: &Directory,
    hook: TcAttachType,
    name: &str,
    program: &mut SchedClassifier,
) -> Result<(), Error> {
    let order = if hook == TcAttachType::Ingress { LinkOrder::first() } else { LinkOrder::last() };
    let attached = program
        .attach_with_options(&link.name, hook, TcAttachOptions::TcxOrder(order))
        .and_then(|id| program.take_link(id))
        .context("attach a TC program to", &link.name)?;
    let pin = directory.pin(name);
    FdLink::try_from(attached).context("pin", pin.display())?.pin(&pin).context("pin", pin.display())?;
    Ok(())
}

fn attach_filter(link: &Link, hook: TcAttachType, program: &mut SchedClassifier) -> Result<(), ProgramError> {
    let preferred = if hook == TcAttachType::Ingress { FIRST } else { LAST };
    let mut add = |priority| {
        let options = TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() });
        program.attach_with_options(&link.name, hook, options)
    };
    let id = match add(preferred) {
        // A filter of another kind or protocol has this priority for itself.
        Err(error) if errno(&error) == Some(Errno::EINVAL) => add(ANY)?,
        result => result?,
    };
    // The filter is to stay when the handle, which holds no resources, goes.
    mem::forget(program.take_link(id)?);
    Ok(())
}
