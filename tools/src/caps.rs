//! `instamp caps`.

use std::{io, process::ExitCode};

use instamp_hooks::{
    Capabilities, Choice, NicRxSource, NicTxSource, Sources, Timestamping, Tracing, XdpCapabilities, capabilities,
};
use serde::Serialize;

use crate::json_lines;

/// Shows what devices can do, and what `instamp attach` would choose and why.
///
/// Acts in the network namespace that it runs in. Without the privilege to attach it cannot ask for TCX, nor say what would be
/// chosen; the rest needs none.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The device [default: all of them].
    #[arg(long, value_name = "IF")]
    dev: Option<String>,

    /// Print JSON Lines: one object for each device.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for device in capabilities(options.dev.as_deref())? {
        if options.json {
            json_lines::write(&mut out, &Device::from(device))?;
        } else {
            write_text(&mut out, &device)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_text(out: &mut impl io::Write, device: &Capabilities) -> io::Result<()> {
    let kind = match &device.kind {
        Some(kind) => kind,
        None if device.layer == "ether" => "network card",
        None => &device.layer,
    };
    writeln!(out, "{}: {kind}, driver {}", device.device, device.driver.as_deref().unwrap_or("unknown"))?;
    let mut line = |label: &str, value: String| writeln!(out, "  {label:<17} {value}");
    line(
        "attach",
        match &device.choice {
            Ok(Choice { ingress, tc, reason }) => format!("ingress by {ingress}: {reason}; TC by {tc}"),
            Err(error) => format!("not possible: {:#}", ChainOf(error)),
        },
    )?;
    line("native XDP", known(device.xdp.as_ref().map(|xdp| xdp.native)))?;
    line("XDP program", device.xdp_program_id.map_or_else(|| "none".to_owned(), |id| format!("id {id}")))?;
    line("XDP multi-buffer", known(device.xdp.as_ref().map(|xdp| xdp.multi_buffer)))?;
    line("XDP metadata", device.xdp.as_ref().map_or_else(unknown, |xdp| names(&xdp.rx_metadata)))?;
    line("AF_XDP zero copy", known(device.xdp.as_ref().map(|xdp| xdp.zero_copy)))?;
    line("AF_XDP features", device.xdp.as_ref().map_or_else(unknown, |xdp| names(&xdp.xsk_features)))?;
    line("TCX", known(device.tcx))?;
    let Sources { driver_tx, nic_tx, nic_rx, .. } = &device.sources;
    line("driver-tx", driver_tx.as_ref().map_or_else(unknown, source))?;
    line("nic-tx", nic_tx.as_ref().map_or_else(unknown, source))?;
    line("nic-rx", source(nic_rx))?;
    let Some(stamps) = &device.timestamping else { return line("timestamping", "none".to_owned()) };
    line("PHC", stamps.phc.map_or_else(|| "none".to_owned(), |index| format!("/dev/ptp{index}")))?;
    line("timestamping", names(&stamps.modes))?;
    line("hardware TX", names(&stamps.tx_types))?;
    line("hardware RX", names(&stamps.rx_filters))?;
    if stamps.phc.is_none() {
        return Ok(());
    }
    line(
        "setting in force",
        match &stamps.setting {
            Ok(Some((tx, rx))) => format!("transmit {tx}, receive {rx}"),
            Ok(None) => unknown(),
            Err(error) => format!("unknown: {:#}", ChainOf(error)),
        },
    )?;
    line("PHC open in", stamps.holders.to_string())
}

/// An error with its causes.
struct ChainOf<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for ChainOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// From where a time comes, or why it does not.
fn source<T: ToString>(source: &Result<T, String>) -> String {
    match source {
        Ok(source) => source.to_string(),
        Err(words) => format!("no: {words}"),
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn known(value: Option<bool>) -> String {
    match value {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => unknown(),
    }
}

fn names(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

#[derive(Serialize)]
struct Device {
    device: String,
    ifindex: u32,
    layer: String,
    kind: Option<String>,
    driver: Option<String>,
    native_xdp: Option<bool>,
    xdp_program_id: Option<u32>,
    xdp_multi_buffer: Option<bool>,
    xdp_rx_metadata: Option<Vec<&'static str>>,
    af_xdp_zero_copy: Option<bool>,
    xsk_features: Option<Vec<&'static str>>,
    tcx: Option<bool>,
    phc_index: Option<u32>,
    timestamping_modes: Option<Vec<String>>,
    hardware_tx_types: Option<Vec<String>>,
    hardware_rx_filters: Option<Vec<String>>,
    /// In force.
    hardware_tx_type: Option<String>,
    hardware_rx_filter: Option<String>,
    phc_holders: Option<Vec<Holder>>,
    attach: Attach,
    /// `null` where asking is not permitted.
    driver_tx: Option<Source>,
    nic_tx: Option<Source>,
    nic_rx: Source,
}

/// From where a time comes: `tp_btf`, `fentry`, `kprobe`, `socket`, `xdp-metadata`, `skb`. Where it is `null`, or not the best,
/// with the reason.
#[derive(Serialize)]
struct Source {
    source: Option<String>,
    reason: Option<String>,
}

impl Source {
    fn of<T>(found: &Result<T, String>, name: impl Fn(&T) -> (String, Option<String>)) -> Self {
        match found {
            Ok(found) => {
                let (source, reason) = name(found);
                Self { source: Some(source), reason }
            }
            Err(words) => Self { source: None, reason: Some(words.clone()) },
        }
    }

    fn driver_tx(found: &Result<Tracing, String>) -> Self {
        Self::of(found, |tracing| (tracing.to_string(), None))
    }

    fn nic_tx(found: &Result<NicTxSource, String>) -> Self {
        Self::of(found, |source| match source {
            NicTxSource::InBand(tracing) => (tracing.to_string(), None),
            NicTxSource::Socket(words) => ("socket".to_owned(), Some(words.clone())),
        })
    }

    fn nic_rx(found: &Result<NicRxSource, String>) -> Self {
        Self::of(found, |source| match source {
            NicRxSource::XdpMetadata => ("xdp-metadata".to_owned(), None),
            NicRxSource::SocketBuffer => ("skb".to_owned(), None),
        })
    }
}

#[derive(Serialize)]
struct Holder {
    pid: u32,
    command: String,
    may_steer: bool,
}

/// What attaching would choose; or `null`s, with the error.
#[derive(Serialize)]
struct Attach {
    ingress: Option<String>,
    tc: Option<String>,
    reason: Option<String>,
    error: Option<String>,
}

impl From<Capabilities> for Device {
    fn from(device: Capabilities) -> Self {
        let xdp = device.xdp.as_ref();
        let of_xdp = |value: fn(&XdpCapabilities) -> bool| xdp.map(value);
        let stamps = device.timestamping.as_ref();
        let setting = stamps.and_then(|stamps| stamps.setting.as_ref().ok()?.clone()).unzip();
        let holders = |stamps: &Timestamping| {
            let holder = |holder: &hwtstamp::Holder| Holder {
                pid: holder.pid,
                command: holder.command.clone(),
                may_steer: holder.may_steer,
            };
            stamps.phc.map(|_| stamps.holders.seen.iter().map(holder).collect())
        };
        let of_stamps = |value: fn(&Timestamping) -> Vec<String>| stamps.map(value);
        Self {
            native_xdp: of_xdp(|xdp| xdp.native),
            xdp_multi_buffer: of_xdp(|xdp| xdp.multi_buffer),
            xdp_rx_metadata: xdp.map(|xdp| xdp.rx_metadata.clone()),
            af_xdp_zero_copy: of_xdp(|xdp| xdp.zero_copy),
            xsk_features: xdp.map(|xdp| xdp.xsk_features.clone()),
            xdp_program_id: device.xdp_program_id,
            tcx: device.tcx,
            phc_index: stamps.and_then(|stamps| stamps.phc),
            timestamping_modes: of_stamps(|stamps| stamps.modes.clone()),
            hardware_tx_types: of_stamps(|stamps| stamps.tx_types.clone()),
            hardware_rx_filters: of_stamps(|stamps| stamps.rx_filters.clone()),
            hardware_tx_type: setting.0,
            hardware_rx_filter: setting.1,
            phc_holders: stamps.and_then(holders),
            attach: match &device.choice {
                Ok(Choice { ingress, tc, reason }) => Attach {
                    ingress: Some(ingress.to_string()),
                    tc: Some(tc.to_string()),
                    reason: Some(reason.to_string()),
                    error: None,
                },
                Err(error) => Attach { ingress: None, tc: None, reason: None, error: Some(ChainOf(error).to_string()) },
            },
            driver_tx: device.sources.driver_tx.as_ref().map(Source::driver_tx),
            nic_tx: device.sources.nic_tx.as_ref().map(Source::nic_tx),
            nic_rx: Source::nic_rx(&device.sources.nic_rx),
            device: device.device,
            ifindex: device.ifindex,
            layer: device.layer,
            kind: device.kind,
            driver: device.driver,
        }
    }
}
