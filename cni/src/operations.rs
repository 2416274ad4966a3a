//! What is done for each command. Hooks and devices are the business of `instamp-hooks`, which `instamp attach` uses likewise.

use std::fs::File;

use instamp_hooks::{Attachment, Container, ContainerRequest, Hooks, Objects, Settings};
use serde_json::{Value, json};

use crate::{
    call::{Call, Command, Configuration, Subject, VERSIONS},
    error::Error,
};

pub(crate) fn run(call: &Call) -> Result<Option<Value>, Error> {
    let configuration = &call.configuration;
    match &call.command {
        Command::Version => Ok(Some(versions(&configuration.cni_version))),
        Command::Add { attachment, namespace } => {
            let result = previous_result(configuration)?;
            let added = File::open(namespace)
                .map_err(|error| Error::io(&format!("cannot open {}", namespace.display()), &error))
                .and_then(|namespace| add(configuration, attachment, namespace));
            match added {
                Err(error) if !configuration.required => {
                    eprintln!("instamp-cni: {} is not attached to: {}", attachment.id, error.details());
                }
                added => added?,
            }
            Ok(Some(result.clone()))
        }
        Command::Del(subject) => {
            let this = container(configuration, subject);
            detach(configuration, |container| is_same(container, &this)).map(|()| None)
        }
        Command::Check(subject) => {
            previous_result(configuration)?;
            match check(configuration, subject) {
                Err(_) if !configuration.required => Ok(None),
                checked => checked.map(|()| None),
            }
        }
        Command::Gc => {
            let missing = || Error::configuration("GC without cni.dev/valid-attachments");
            let valid = configuration.valid_attachments.as_ref().ok_or_else(missing)?;
            let is_valid = |container: &Container| {
                valid.iter().any(|valid| valid.id == container.id && valid.interface == container.interface)
            };
            let engine = engine(configuration);
            detach(configuration, |container| container.engine == engine && !is_valid(container)).map(|()| None)
        }
        Command::Status => {
            let usable = hooks(configuration).and_then(|hooks| hooks.sweep());
            match usable.map_err(|error| Error::unavailable(&error)) {
                // The runtime would start no container at all.
                Err(error) if !configuration.required => {
                    eprintln!("instamp-cni: nothing can be attached to: {}", error.details());
                    Ok(None)
                }
                usable => usable.map(|()| None),
            }
        }
    }
}

fn versions(asked: &str) -> Value {
    let version = VERSIONS.iter().find(|version| **version == asked).or(VERSIONS.last());
    json!({ "cniVersion": version, "supportedVersions": VERSIONS })
}

/// What the plugins before have done.
fn previous_result(configuration: &Configuration) -> Result<&Value, Error> {
    let missing =
        || Error::configuration("no prevResult: this plugin follows the one that makes the container's device");
    configuration.prev_result.as_ref().ok_or_else(missing)
}

fn hooks(configuration: &Configuration) -> Result<Hooks, instamp_hooks::Error> {
    Hooks::open(configuration.bpffs.as_deref(), |notice| eprintln!("instamp-cni: {notice}"))
}

/// Each network has its own, as `(network, container, device)` is the key of an attachment.
fn engine(configuration: &Configuration) -> String {
    format!("cni/{}", configuration.name)
}

fn container(configuration: &Configuration, subject: &Subject) -> Container {
    let Subject { id, name, interface } = subject;
    Container { engine: engine(configuration), id: id.clone(), name: name.clone(), interface: interface.clone() }
}

/// Names are for people.
fn is_same(one: &Container, other: &Container) -> bool {
    (&one.engine, &one.id, &one.interface) == (&other.engine, &other.id, &other.interface)
}

fn add(configuration: &Configuration, subject: &Subject, namespace: File) -> Result<(), Error> {
    let Configuration { uplink, ingress, xdp_mode, tc, hw, point, node, .. } = configuration;
    let request = ContainerRequest {
        uplink: uplink.clone(),
        ingress: (*ingress).into(),
        xdp_mode: (*xdp_mode).into(),
        tc: (*tc).into(),
        hardware: *hw,
        settings: Settings { point: *point, node: *node, ..Settings::default() },
        ..ContainerRequest::new(container(configuration, subject), namespace)
    };
    let attached = hooks(configuration).and_then(|hooks| hooks.attach_container(&Objects::built_in(), &request));
    attached.map(drop).map_err(|error| Error::hooks(&error))
}

/// Where there can be no pins, nothing is attached.
fn detach(configuration: &Configuration, which: impl Fn(&Container) -> bool) -> Result<(), Error> {
    match hooks(configuration).and_then(|hooks| hooks.detach_containers(which)) {
        Ok(_) | Err(instamp_hooks::Error::NoBpffs { .. } | instamp_hooks::Error::KernelTooOld { .. }) => Ok(()),
        Err(error) => Err(Error::hooks(&error)),
    }
}

fn check(configuration: &Configuration, subject: &Subject) -> Result<(), Error> {
    let this = container(configuration, subject);
    let attachments = hooks(configuration).and_then(|hooks| hooks.status()).map_err(|error| Error::hooks(&error))?;
    let is_its =
        |attachment: &&Attachment| attachment.container.as_ref().is_some_and(|of| is_same(&of.container, &this));
    let veth = attachments.iter().find(is_its);
    let veth = veth.ok_or_else(|| Error::not_attached(format!("nothing is attached for {}", subject.id)))?;
    let uplink = veth.container.as_ref().and_then(|of| of.uplink.as_ref());
    let uplink = attachments.iter().find(|attachment| Some(&attachment.device) == uplink);
    let uplink = uplink.ok_or_else(|| Error::not_attached("the uplink is not attached any more"))?;
    for attachment in [veth, uplink] {
        if attachment.hooks.iter().any(|hook| hook.mechanism.is_none()) {
            return Err(Error::not_attached(format!("{}: {attachment}", attachment.device)));
        }
    }
    Ok(())
}
