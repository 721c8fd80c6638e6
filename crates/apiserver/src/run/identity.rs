//! The Lease by which an API server says that it is there, as every kube-apiserver has one. Written once; nobody waits for
//! a newer one.

use std::net::SocketAddr;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use crate::db::{Db, WriteOptions};
use crate::store::meta::new_uid;
use crate::token::sha256;

const NAMESPACE: &str = "kube-system";
const COMPONENT: &str = "kube-apiserver";
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// So much of the hash goes into the name.
const HASH_BYTES: usize = 16;

/// Writes the Lease if it is missing.
pub(super) async fn write(db: &Db, address: SocketAddr) -> anyhow::Result<()> {
    let leases = db
        .registry()
        .find("coordination.k8s.io", "v1", "leases")
        .context("Leases are not served")?;
    let host = host();
    let name = name(&host);
    if db.get(&leases, Some(NAMESPACE), &name).is_ok() {
        return Ok(());
    }
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let lease = json!({
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {"apiserver.kubernetes.io/identity": COMPONENT, "kubernetes.io/hostname": host},
            "annotations": {"kubernetes.io/peer-advertise-address": address.to_string()},
        },
        "spec": {
            "holderIdentity": format!("{name}_{}", new_uid(&mut StdRng::from_rng(&mut rand::rng()))),
            "leaseDurationSeconds": 3600, "renewTime": now.to_string(),
        },
    });
    let options = WriteOptions::by(COMPONENT);
    db.create(&leases, Some(NAMESPACE), lease, &options)
        .await
        .with_context(|| format!("write the Lease {name}"))?;
    Ok(())
}

/// The machine's name, as the system tells it.
fn host() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let told = told.trim().to_lowercase();
    if told.is_empty() {
        "localhost".to_owned()
    } else {
        told
    }
}

/// The same for every server of one machine.
fn name(host: &str) -> String {
    let mut data = Vec::new();
    for part in [host, COMPONENT] {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        data.extend(length.to_be_bytes());
        data.extend(part.as_bytes());
    }
    format!("apiserver-{}", base32(&sha256(&data)[..HASH_BYTES]))
}

fn base32(bytes: &[u8]) -> String {
    let (mut bits, mut count) = (0_u32, 0);
    let mut text = String::new();
    let mut digit = |bits: u32| {
        let at = usize::try_from(bits & 31).unwrap_or_default();
        text.push(char::from(DIGITS[at]));
    };
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            digit(bits >> count);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        digit(bits << (5 - count));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_as_kubernetes_calls_it() {
        assert_eq!(name("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa");
        assert_eq!(base32(b"fo"), "mzxq");
        assert_eq!(base32(b""), "");
    }
}
