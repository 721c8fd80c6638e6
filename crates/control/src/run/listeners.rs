//! Every address that the process needs, taken before anything else begins.
use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::args::{Args, Listen};
use crate::server;

/// The admin port where nothing says another.
const ADMIN_PORT: u16 = 4191;

/// One listener per port; what has none is served on the destination's, or not at all.
pub(super) struct Listeners {
    pub(super) identity: Option<TcpListener>,
    pub(super) destination: TcpListener,
    pub(super) policy: Option<TcpListener>,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Takes them.
    ///
    /// # Errors
    /// When an address is taken or not ours, or would carry plaintext to other machines.
    pub(super) fn open(args: &Args) -> anyhow::Result<Self> {
        let ip = args.listen.ip();
        if args.plaintext && !ip.is_loopback() {
            anyhow::bail!(
                "--plaintext is for loopback addresses only, as 127.0.0.1: {ip} is none, and whoever reaches it \
                 would read and be told everything"
            );
        }
        let open = |port, what: &str, flag: &str| {
            server::listen(ip, port)
                .with_context(|| format!("no {what} port (choose another with --{flag})"))
        };
        let (destination, flag, admin) = match args.listen {
            Listen::Address(_) => (args.destination_port, "destination-port", ADMIN_PORT),
            // Several processes may share an address, with a port for each.
            Listen::Socket(addr) => (addr.port(), "listen", 0),
        };
        let one_port = args.plaintext && matches!(args.listen, Listen::Socket(_));
        let identity = (!args.plaintext)
            .then(|| open(args.identity_port, "identity", "identity-port"))
            .transpose()?;
        let policy = (!one_port)
            .then(|| open(args.policy_port, "policy", "policy-port"))
            .transpose()?;
        Ok(Self {
            identity,
            destination: open(destination, "destination", flag)?,
            policy,
            admin: open(args.admin_port.unwrap_or(admin), "admin", "admin-port")?,
        })
    }

    /// Where the destination service and the admin port are, for the log.
    pub(super) fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let of = |listener: &TcpListener| listener.local_addr().context("ask for an own address");
        Ok((of(&self.destination)?, of(&self.admin)?))
    }
}
