//! Secrets that shall hold a ServiceAccount's token.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::action::Action;
use super::{Plan, View};
use crate::db::TokenFor;
use crate::registry::StorageKey;
use crate::store::json::{child, fields, text};
use crate::store::request::{Propagation, Subresource};

const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Looks after the Secrets of an account that has come, changed or gone.
pub(super) fn plan_account(view: &View<'_>, namespace: &str, account: &str) -> Plan {
    let mut plan = Plan::default();
    let secrets = StorageKey::new("", "secrets");
    for secret in view.state.within(&secrets, Some(namespace)) {
        if text(&secret.value()["metadata"]["annotations"], ACCOUNT) == account {
            let one = self::plan(view, namespace, secret.name());
            plan.actions.extend(one.actions);
        }
    }
    plan
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let secrets = StorageKey::new("", "secrets");
    let Some(object) = view.state.get(&secrets, namespace, name) else {
        return plan;
    };
    let mut secret = object.value();
    if secret["type"] != "kubernetes.io/service-account-token" || object.is_terminating() {
        return plan;
    }
    let annotations = &secret["metadata"]["annotations"];
    let account_name = text(annotations, ACCOUNT).to_owned();
    let known_uid = text(annotations, ACCOUNT_UID).to_owned();
    let accounts = StorageKey::new("", "serviceaccounts");
    let account = view.state.get(&accounts, namespace, &account_name);
    let stale = match account {
        Some(account) => !known_uid.is_empty() && account.uid() != known_uid,
        None => !account_name.is_empty(),
    };
    if stale {
        plan.actions.push(Action::Delete {
            collection: secrets,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: object.uid().to_owned(),
            how: Propagation::Background,
        });
        return plan;
    }
    let (Some(account), Some(mint)) = (account, view.mint) else {
        return plan;
    };
    if !text(&secret["data"], "token").is_empty() && !known_uid.is_empty() {
        return plan;
    }
    let wanted = TokenFor {
        namespace: namespace.to_owned(),
        service_account: account_name,
        service_account_uid: account.uid().to_owned(),
        secret: name.to_owned(),
        secret_uid: object.uid().to_owned(),
    };
    let token = match mint(&wanted) {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(
                namespace,
                name,
                error,
                "a token cannot be made for a Secret"
            );
            return plan;
        }
    };
    let annotations = child(&mut secret, "metadata")
        .entry("annotations")
        .or_insert_with(|| json!({}));
    fields(annotations).insert(ACCOUNT_UID.to_owned(), account.uid().into());
    let data = child(&mut secret, "data");
    data.insert("token".to_owned(), STANDARD.encode(token).into());
    data.insert("namespace".to_owned(), STANDARD.encode(namespace).into());
    if let Some(pem) = view.root_ca {
        data.insert("ca.crt".to_owned(), STANDARD.encode(pem).into());
    }
    plan.actions
        .push(Action::Update(secrets, Subresource::None, secret));
    plan
}
