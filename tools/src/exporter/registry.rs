//! All that is served.

use prometheus_client::{metrics::info::Info, registry::Registry};

use super::{clocks::Clocks, hooks::Hooks, metrics::Families};

/// The registry of everything that is served.
pub(super) fn registry(families: &Families) -> Registry {
    let mut registry = Registry::with_prefix("instamp");
    registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    families.register(&mut registry);
    registry.register_collector(Box::new(Hooks::default()));
    registry.register_collector(Box::new(Clocks::default()));
    registry
}
