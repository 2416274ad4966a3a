//! `instamp run`.

mod child;
mod lines;
mod matching;
mod options;
mod output;
mod rounds;

use std::process::ExitCode;

use anyhow::Context as _;
use instamp_hooks::{WatchRequest, Watcher};

pub(crate) use self::options::Options;
use self::{child::Tool, lines::Format, output::Output};
use crate::{is_broken_pipe, namespaces::Namespace, watch::tell_limits};

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let signals = child::hold_signals()?;
    let namespace = options.namespace()?;
    let mut request = WatchRequest::default();
    request.uplinks.clone_from(&options.uplinks.dev);
    let inode =
        namespace.as_ref().map_or_else(|| Namespace::own().map(|own| own.inode()), |other| Ok(other.inode()))?;
    request.namespaces = vec![inode];
    // The tool is started by this process.
    request.ancestor = Some(std::process::id());
    let watcher = Watcher::start(&request)?;
    if namespace.is_some() {
        tell_limits(&watcher);
    }

    let format = Format::of(&options.command);
    if format.is_none() {
        let tool = options.command.first().map_or("", |tool| tool);
        eprintln!("instamp: the lines of {tool} are not known: its replies are in the summary alone");
    }
    let mut tool = Tool::start(&options.command, namespace.as_ref(), format.is_some())?;
    tool.pass_signals_on(&signals)?;
    let mut output = Output::new(&watcher);
    let followed = match (tool.take_output(), format) {
        (Some(lines), Some(format)) => output.follow(lines, format),
        _ => output.follow_until_end(&tool),
    };
    // The pipe is closed by now: a tool that goes on writing is told so.
    let code = tool.exit_code().context("cannot wait for the tool")?;
    match followed.and_then(|()| output.end()) {
        // Whoever read the output has seen enough of it: that is the tool's affair.
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ => Ok(ExitCode::from(code)),
    }
}
