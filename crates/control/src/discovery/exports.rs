//! What is told to a gateway: it asks for peers of other clusters, who may reach only what is exported.
//!
//! Pure. Labels are judged once, when an object arrives; a stream asks only whether its gate is open.
use std::sync::{Arc, LazyLock};

use tombolo_core::keys::MIRRORED_SERVICE;
use tombolo_core::selector::Selector;
use tombolo_core::service::Labels;
use tombolo_wire::purpose::Purpose;

use super::view::View;
use crate::args::GatewayExports;

/// The selectors of Links that have none of their own.
static BY_DEFAULT: LazyLock<[Selector; 3]> = LazyLock::new(|| {
    [
        Selector::exported(),
        Selector::remote_discovery(),
        Selector::federated_member(),
    ]
});

/// Whether a Service is there for other clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    /// Its owner exports it.
    Exported,
    /// It is this cluster's own affair, or another cluster's: what is mirrored is not passed on.
    Kept,
}

impl Export {
    /// What these labels of a Service say.
    pub(crate) fn of(labels: &Labels) -> Self {
        let mirrored = labels
            .get(MIRRORED_SERVICE)
            .is_some_and(|value| value == "true");
        let selected = BY_DEFAULT.iter().any(|selector| selector.matches(labels));
        if selected && !mirrored {
            Self::Exported
        } else {
            Self::Kept
        }
    }
}

/// Which Services one caller is told of. To him, the others do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// All.
    Open,
    /// Those that are exported.
    Exports,
}

impl Gate {
    /// The gate for a caller who asks on that behalf.
    pub(crate) const fn of(purpose: Purpose, exports: GatewayExports) -> Self {
        match (purpose, exports) {
            (Purpose::Own, _) | (Purpose::Gateway, GatewayExports::Any) => Self::Open,
            (Purpose::Gateway, GatewayExports::Labelled) => Self::Exports,
        }
    }

    /// What the caller may see of what there is.
    pub(crate) fn show(self, view: Option<&Arc<View>>) -> Option<&Arc<View>> {
        view.filter(|view| match (self, view.service.export) {
            (Self::Open, _) | (Self::Exports, Export::Exported) => true,
            (Self::Exports, Export::Kept) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::model::{Key, Reach, Resolution, Service};
    use super::super::view::Completeness;
    use super::*;

    const EXPORTED: &str = "mirror.linkerd.io/exported";
    const FEDERATED: &str = "mirror.linkerd.io/federated";

    fn labels(labels: &[(&str, &str)]) -> Labels {
        let owned = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        owned.collect()
    }

    #[test]
    fn exported_is_what_a_default_selector_takes_and_nobody_mirrored() {
        for (of, want) in [
            (&[][..], Export::Kept),
            (&[("app", "web")], Export::Kept),
            (&[(EXPORTED, "true")], Export::Exported),
            (&[(EXPORTED, "remote-discovery")], Export::Exported),
            (&[(FEDERATED, "member")], Export::Exported),
            (&[(EXPORTED, "false")], Export::Kept),
            (&[(EXPORTED, "")], Export::Kept),
            (&[(EXPORTED, "member")], Export::Kept),
            (&[(FEDERATED, "true")], Export::Kept),
            (
                &[(EXPORTED, "false"), (FEDERATED, "member")],
                Export::Exported,
            ),
            (
                &[(EXPORTED, "true"), (MIRRORED_SERVICE, "true")],
                Export::Kept,
            ),
            (
                &[(FEDERATED, "member"), (MIRRORED_SERVICE, "true")],
                Export::Kept,
            ),
            (
                &[(EXPORTED, "true"), (MIRRORED_SERVICE, "no")],
                Export::Exported,
            ),
        ] {
            assert_eq!(Export::of(&labels(of)), want, "{of:?}");
        }
    }

    #[test]
    fn only_a_gateway_is_kept_from_what_is_not_exported() {
        for (purpose, exports, kept_is_shown) in [
            (Purpose::Own, GatewayExports::Labelled, true),
            (Purpose::Own, GatewayExports::Any, true),
            (Purpose::Gateway, GatewayExports::Labelled, false),
            (Purpose::Gateway, GatewayExports::Any, true),
        ] {
            let gate = Gate::of(purpose, exports);
            let shows = |export| gate.show(Some(&view(export))).is_some();
            assert!(shows(Export::Exported), "{purpose:?} {exports:?}");
            assert_eq!(
                shows(Export::Kept),
                kept_is_shown,
                "{purpose:?} {exports:?}"
            );
            assert!(gate.show(None).is_none());
        }
    }

    fn view(export: Export) -> Arc<View> {
        let service = Service {
            key: Key::new("demo", "web"),
            reach: Reach::ClusterIp,
            ips: Vec::new(),
            ports: BTreeMap::new(),
            resolution: Resolution::Local,
            opaque_ports: None,
            traffic: Default::default(),
            export,
        };
        Arc::new(View {
            service: Arc::new(service),
            refusal: None,
            completeness: Completeness::Complete,
            ports: BTreeMap::new(),
            sources: BTreeSet::new(),
        })
    }
}
