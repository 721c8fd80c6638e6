//! Whether the addresses of the lab are free, asked before anything is started.
//!
//! A clear error now is better than a process that dies later. Whoever holds the port is named if that can
//! be found out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};

use crate::topology::{
    ADMIN_PORT, DESTINATION_PORT, IDENTITY_PORT, INBOUND_PORT, KUBELET_PORT, OUTBOUND_PORT,
    POLICY_PORT, SERVICE_PORT, clusters,
};

/// Ports that stand in for the identity API's where something on the machine holds it.
const IDENTITY_PORTS: [u16; 4] = [IDENTITY_PORT, 18080, 28080, 38080];

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// The port for the identity API.
    pub identity_port: u16,
}

/// Asks for every address that the lab will need at once.
///
/// # Errors
/// One is taken; the error names it, who holds it, and what to do.
pub fn check(service_port: u16) -> Result<Free> {
    let identity_port = IDENTITY_PORTS.into_iter().find(|port| {
        clusters()
            .iter()
            .all(|cluster| free(at(cluster.control(), *port)))
    });
    let Some(identity_port) = identity_port else {
        bail!(
            "no port for the identity service is free: tried {IDENTITY_PORTS:?} on {}: stop one of the programs that \
             listen on them",
            clusters()
                .map(|cluster| cluster.control().to_string())
                .join(", ")
        );
    };
    for cluster in clusters() {
        let name = cluster.name;
        for port in [DESTINATION_PORT, POLICY_PORT, ADMIN_PORT] {
            taken(at(cluster.control(), port), name, "control plane")?;
        }
        taken(cluster.api(), name, "API server")?;
        taken(at(cluster.node_address(), KUBELET_PORT), name, "node")?;
        for port in [OUTBOUND_PORT, INBOUND_PORT, ADMIN_PORT] {
            taken(at(cluster.node_proxy(), port), name, "node's proxy")?;
        }
        // Pods and Services have addresses of their own; only who listens on all addresses is in the way.
        for address in [cluster.pods, cluster.services].map(|range| range.hosts().next()) {
            let Some(address) = address else { continue };
            if !free(at(address, service_port)) {
                bail!(
                    "port {service_port} on {address} is already in use{}: choose another for the services with --port, \
                     as in --port {}",
                    holder(service_port),
                    another(service_port)
                );
            }
        }
    }
    Ok(Free { identity_port })
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}

/// The fixed addresses are the scenario's; only who holds one can give way.
fn taken(address: SocketAddr, cluster: &str, what: &str) -> Result<()> {
    if free(address) {
        return Ok(());
    }
    let port = address.port();
    bail!(
        "{address}, which the {what} of {cluster} needs, is already in use{}: if another lab runs, end it with \
         `tombolo lab down` (and the --dir that it was started with); a program that listens on port {port} of all \
         addresses must be told to listen on one, such as 127.0.0.1:{port}, or be stopped meanwhile",
        holder(port)
    )
}

/// A port beside the given one.
fn another(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(SERVICE_PORT)
}

/// A listener with `SO_REUSEADDR`, as the processes will open it.
fn free(address: SocketAddr) -> bool {
    std::net::TcpListener::bind(address).is_ok()
}

/// Who listens on a port of this machine, as ` by NAME (process PID)`; empty if that cannot be seen.
fn holder(port: u16) -> String {
    let inodes = listening_inodes(port);
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return String::new();
    };
    for process in processes.flatten() {
        // Beside the processes there are entries such as `self`.
        if !process
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
        {
            continue;
        }
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = files.flatten().any(|file| {
            let link = std::fs::read_link(file.path()).unwrap_or_default();
            inodes
                .iter()
                .any(|inode| link.as_os_str() == format!("socket:[{inode}]").as_str())
        });
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let pid = process.file_name();
            return format!(" by {} (process {})", name.trim(), pid.display());
        }
    }
    String::new()
}

fn listening_inodes(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) =
                (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let local_port = local
                .rsplit(':')
                .next()
                .and_then(|p| u16::from_str_radix(p, 16).ok());
            if local_port == Some(port) && *state == LISTEN {
                inodes.push((*inode).to_owned());
            }
        }
    }
    inodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_named_with_its_holder_and_the_way_out() {
        let listener = std::net::TcpListener::bind("127.9.9.9:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = taken(address, "east", "API server")
            .unwrap_err()
            .to_string();
        let holder = format!("(process {})", std::process::id());
        let elsewhere = format!("127.0.0.1:{}", address.port());
        for part in [
            &address.to_string(),
            &holder,
            "API server of east",
            "tombolo lab down",
            &elsewhere,
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        drop(listener);
        taken(address, "east", "API server").unwrap();
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_holder_and_the_way_out() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check(port).unwrap_err().to_string();
        // Other tests' labs may hold the fixed addresses; then those are named.
        if error.contains("--port") {
            assert!(
                error.contains(&format!("port {port} on 127.100.0.1")),
                "{error}"
            );
            assert!(
                error.contains(&format!("(process {})", std::process::id())),
                "{error}"
            );
        } else {
            assert!(error.contains("already in use"), "{error}");
        }
    }
}
