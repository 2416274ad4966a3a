//! The devices of the network namespace of this thread.

use std::{fs, net::IpAddr};

use aya::programs::{SchedClassifier, TcAttachType};
use nix::errno::Errno;

use crate::{
    Choice, Error, IngressChoice, TcChoice, TcMode, XdpMode, choice,
    error::{Context as _, errno},
    kernel,
    netlink::{
        generic::Generic,
        route::{Link, Route},
    },
};

/// `NETDEV_XDP_ACT_BASIC` of `include/uapi/linux/netdev.h`: the driver runs XDP programs.
pub(crate) const XDP_BASIC: u64 = 1;

/// The network namespace of this thread, as it is now.
pub(crate) struct Here {
    pub(crate) namespace: u64,
    pub(crate) route: Route,
    pub(crate) links: Vec<Link>,
}

impl Here {
    pub(crate) fn look() -> Result<Self, Error> {
        let route = Route::open().context("open", "route netlink")?;
        let links = route.links().context("list", "the devices")?;
        Ok(Self { namespace: kernel::network_namespace()?, route, links })
    }

    pub(crate) fn device(&self, name: &str) -> Result<&Link, Error> {
        self.links.iter().find(|link| link.name == name).ok_or_else(|| Error::UnknownDevice {
            device: name.to_owned(),
            present: self.links.iter().map(|link| link.name.clone()).collect(),
        })
    }

    pub(crate) fn by_index(&self, ifindex: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.ifindex == ifindex)
    }
}

impl Here {
    /// Whether what this host sends to an address goes to the other end of the device, directly or by the bridge whose port the
    /// device is.
    pub(crate) fn leads_to(&self, address: IpAddr, link: &Link) -> Result<bool, Error> {
        let above = |link: &Link| link.controller.and_then(|controller| self.by_index(controller));
        let is_vrf = |link: &&Link| link.kind.as_deref() == Some("vrf");
        let bridge = above(link).filter(|above| !is_vrf(above));
        let vrf = above(bridge.unwrap_or(link)).filter(is_vrf);
        let device = self.route.sends(address, vrf.map(|vrf| vrf.ifindex)).context("ask for the route to", address)?;
        Ok(device.is_some_and(|device| device == link.ifindex || bridge.is_some_and(|bridge| bridge.ifindex == device)))
    }
}

/// The number of a network namespace as programs see it: the kernel's has 32 bits.
pub(crate) fn namespace_number(inode: u64) -> u32 {
    u32::try_from(inode).unwrap_or(u32::MAX)
}

impl Link {
    pub(crate) fn is_ethernet(&self) -> bool {
        self.layer == "Ether"
    }

    pub(crate) fn require_ethernet(&self) -> Result<(), Error> {
        if self.is_ethernet() {
            return Ok(());
        }
        Err(Error::NotEthernet { device: self.name.clone(), layer: self.layer.to_lowercase() })
    }

    /// The driver; of a software device its kind. The bus knows the driver of the hardware: unlike `/sys/class/net`, its directory
    /// is the same in all network namespaces.
    pub(crate) fn driver(&self) -> Option<String> {
        let hardware = self.parent.as_ref().and_then(|(bus, parent)| {
            let driver = fs::read_link(format!("/sys/bus/{bus}/devices/{parent}/driver")).ok()?;
            Some(driver.file_name()?.to_string_lossy().into_owned())
        });
        hardware.or_else(|| self.kind.clone())
    }

    /// Which hooks the device gets.
    pub(crate) fn choose(&self, ingress: IngressChoice, mode: XdpMode, tc: TcChoice) -> Result<Choice, Error> {
        let native = self.has_native_xdp()?;
        let (ingress, reason) = choice::ingress(ingress, mode, self.kind.as_deref(), native);
        let tc = match tc {
            TcChoice::Clsact => TcMode::Clsact,
            TcChoice::Auto if !self.has_tcx()? => TcMode::Clsact,
            TcChoice::Tcx if !self.has_tcx()? => return Err(Error::NoTcx { device: self.name.clone() }),
            TcChoice::Auto | TcChoice::Tcx => TcMode::Tcx,
        };
        Ok(Choice { ingress, tc, reason })
    }

    /// What the driver says of native XDP; `None` where it says nothing (Linux before 6.3).
    fn has_native_xdp(&self) -> Result<Option<bool>, Error> {
        let netdev = Generic::open()
            .and_then(|generic| generic.netdev(self.ifindex))
            .context("ask for the XDP features of", &self.name)?;
        Ok(netdev.and_then(|netdev| netdev.xdp_features).map(|features| features & XDP_BASIC != 0))
    }

    /// Asks the kernel for the TCX programs of the device: kernels without TCX do not know the question.
    pub(crate) fn has_tcx(&self) -> Result<bool, Error> {
        match SchedClassifier::query_tcx(&self.name, TcAttachType::Egress) {
            Ok(_) => Ok(true),
            Err(error) if errno(&error) == Some(Errno::EINVAL) => Ok(false),
            Err(error) => Err(error).context("look for TCX on", &self.name),
        }
    }

    /// Whether the program is on one of the device's TCX hooks.
    pub(crate) fn has_tcx_program(&self, program: u32) -> Result<bool, Error> {
        for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
            let (_, programs) = SchedClassifier::query_tcx(&self.name, hook).context("look for TCX on", &self.name)?;
            if programs.iter().any(|info| info.id() == program) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
