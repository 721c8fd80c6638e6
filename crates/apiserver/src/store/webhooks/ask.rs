//! Puts a write to the webhooks that it concerns.
//!
//! Those that change are asked one after the other, each about what the one before has left; those that only refuse are
//! asked all at once. In the second turn only those are asked again that want to be, if others have changed the object
//! after them.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::answer::{self, Response};
use super::hook::{Hook, Version};
use super::inquiry::{self, Question, Reply};
use super::{Does, GROUP};
use crate::crd::object as crd;
use crate::error::StatusError;
use crate::patch;
use crate::registry::Resource;
use crate::schema;
use crate::store::mutate::fits;
use crate::store::policy::asked::{Asked, request};
use crate::store::policy::question;
use crate::store::policy::{Attempt, OnFailure};
use crate::store::request::Subresource;
use crate::store::{Store, convert, namespaces, scale};

/// What of the first turn is to be known in the second.
#[derive(Debug, Default)]
pub(in crate::store) struct Turned {
    /// The object as the webhooks have left it.
    left: Option<Value>,
    /// Those that have been asked and want to be again if the object changes, by their place in the order.
    asked: BTreeSet<usize>,
    /// Those of them that are to be.
    again: BTreeSet<usize>,
}

impl Turned {
    fn changed(&mut self) {
        self.again.append(&mut self.asked);
    }
}

/// One more webhook that a write concerns.
struct Concerned<'a> {
    hook: &'a Arc<Hook>,
    /// In which version it wants to see the object.
    res: Arc<Resource>,
}

impl Store {
    /// Whether anybody is to be asked of anything.
    pub(crate) fn has_webhooks(&self) -> bool {
        !self.webhooks.is_empty()
    }

    /// Whether a webhook could change a write.
    pub(in crate::store) fn webhooks_mutate(&self, attempt: &Attempt<'_>) -> bool {
        self.webhooks.that(Does::Mutate).next().is_some() && !is_exempt(attempt)
    }

    /// Lets webhooks change a write: `object` is the new state, in the version that is stored. Answers whether they did.
    pub(in crate::store) fn mutate_by_webhooks(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        asked: &Asked<'_>,
        (turned, again): (&mut Turned, bool),
    ) -> Result<bool, StatusError> {
        if !asked.inquiry.asks() || !self.webhooks_mutate(attempt) {
            return Ok(false);
        }
        if again && turned.left.as_ref().is_some_and(|left| left != object) {
            turned.changed();
        }
        let mut changed = false;
        for (place, hook) in self.webhooks.that(Does::Mutate).enumerate() {
            let present = Some(&*object).filter(|object| !object.is_null());
            let now = Attempt {
                object: present,
                ..*attempt
            };
            let Some(concerned) = self.concerned(hook, &now, asked)? else {
                continue;
            };
            if again && !turned.again.contains(&place) {
                continue;
            }
            if self.change(&concerned, &now, asked)?.is_some_and(|new| {
                let differs = new != *object;
                *object = new;
                differs
            }) {
                turned.changed();
                changed = true;
            }
            if hook.again {
                turned.asked.insert(place);
            }
        }
        turned.left = Some(object.clone());
        Ok(changed)
    }

    /// Refuses what a webhook refuses of a write.
    pub(in crate::store) fn ask_webhooks(
        &self,
        attempt: &Attempt<'_>,
        asked: &Asked<'_>,
    ) -> Result<(), StatusError> {
        if !asked.inquiry.asks() || is_exempt(attempt) {
            return Ok(());
        }
        let mut replies = Vec::new();
        let mut all = true;
        for hook in self.webhooks.that(Does::Validate) {
            let Some(concerned) = self.concerned(hook, attempt, asked)? else {
                continue;
            };
            match self.reply(&concerned, attempt, asked) {
                Ok(reply) => replies.push((hook, reply)),
                Err(error) if inquiry::is_pending(&error) => all = false,
                Err(error) => return Err(error),
            }
        }
        if !all {
            return Err(inquiry::pending());
        }
        let mut refused = None;
        for (hook, reply) in replies {
            if let Err(error) = said(hook, reply, asked) {
                refused.get_or_insert(error);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// A webhook, if a write concerns it.
    fn concerned<'a>(
        &self,
        hook: &'a Arc<Hook>,
        attempt: &Attempt<'_>,
        asked: &Asked<'_>,
    ) -> Result<Option<Concerned<'a>>, StatusError> {
        let labels = |name: &str| {
            let found = self.head.get(&namespaces(), "", name);
            found.map(|namespace| namespace.value())
        };
        let Some(res) = hook.concerns.concerns(attempt, &labels, &self.registry) else {
            return Ok(None);
        };
        if hook.conditions.is_empty() {
            return Ok(Some(Concerned { hook, res }));
        }
        let on_failure = hook.on_failure;
        let conditions = (&*hook.conditions, on_failure);
        match question::conditions_hold(self, (attempt, &res), asked, conditions) {
            Ok(true) => Ok(Some(Concerned { hook, res })),
            Ok(false) => Ok(None),
            Err(why) => Err(StatusError::forbidden(attempt.res, attempt.name, &why)),
        }
    }

    /// What a webhook replies to a write.
    fn reply(
        &self,
        concerned: &Concerned<'_>,
        attempt: &Attempt<'_>,
        asked: &Asked<'_>,
    ) -> Result<Reply, StatusError> {
        let hook = concerned.hook;
        if asked.dry_run && !hook.takes_dry_run {
            let name = &hook.name;
            return Err(StatusError::bad_request(format!(
                "admission webhook {name:?} does not support dry run"
            )));
        }
        if hook.version.is_none() {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions \
                       (v1, v1beta1)";
            return Ok(Reply::Failed(why.into()));
        }
        let mut request = request(attempt, &concerned.res, asked);
        if let Some(request) = request.as_object_mut() {
            request.remove("uid");
        }
        request["object"] = seen(attempt, attempt.object, &concerned.res);
        request["oldObject"] = match attempt.sub {
            // What is bound is new, whatever was there before.
            Subresource::Binding => Value::Null,
            _ => seen(attempt, attempt.before, &concerned.res),
        };
        let question = Question {
            hook: Arc::clone(hook),
            request: request.to_string().into(),
        };
        asked.inquiry.ask(question).ok_or_else(inquiry::pending)
    }

    /// The object as a webhook changes it; none if it leaves it as it is.
    fn change(
        &self,
        concerned: &Concerned<'_>,
        attempt: &Attempt<'_>,
        asked: &Asked<'_>,
    ) -> Result<Option<Value>, StatusError> {
        let hook = concerned.hook;
        let reply = self.reply(concerned, attempt, asked)?;
        let Some(response) = said(hook, reply, asked)? else {
            return Ok(None);
        };
        if response.patch.is_empty() {
            return Ok(None);
        }
        let Some(operations) =
            operations(&response).or_else(|why| failed(hook, &answer::short(why)))?
        else {
            return Ok(None);
        };
        if attempt.object.is_none() {
            let name = &hook.name;
            return Err(StatusError::internal(format!(
                "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
            )));
        }
        if response.patch_type != "JSONPatch" {
            let why = format!("unsupported patch type {:?}", response.patch_type);
            return failed(hook, &answer::short(why));
        }
        let before = seen(attempt, attempt.object, &concerned.res);
        let after = patch::by_webhook(before, &operations)
            .map_err(|why| StatusError::internal(answer::short(why)))?;
        let after = decoded(attempt, after, &concerned.res)?;
        fits(attempt, &after)?;
        Ok(Some(after))
    }
}

/// Configurations of webhooks and policies are put to nobody: or none could be repaired that refuses to be.
fn is_exempt(attempt: &Attempt<'_>) -> bool {
    let plural = &attempt.res.plural;
    attempt.res.group == GROUP
        && (plural.contains("admissionpolic") || plural.contains("webhookconfiguration"))
}

/// A state of the object as a webhook sees it.
fn seen(attempt: &Attempt<'_>, state: Option<&Value>, res: &Resource) -> Value {
    let Some(state) = state else {
        return Value::Null;
    };
    if attempt.sub == Subresource::Scale {
        if state["kind"] == "Scale" && state["apiVersion"] == "autoscaling/v1" {
            return state.clone();
        }
        return scale::view_value(attempt.res, state);
    }
    if attempt.sub == Subresource::Binding {
        return binding(state);
    }
    let mut value = state.clone();
    convert::from_storage(res, &mut value);
    if let Some(of) = typed(res) {
        schema::tidy(of, &mut value);
    }
    value
}

/// The Binding that has put a Pod on its node.
fn binding(pod: &Value) -> Value {
    let meta = &pod["metadata"];
    serde_json::json!({
        "kind": "Binding", "apiVersion": "v1",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "target": {"kind": "Node", "name": pod["spec"]["nodeName"]},
    })
}

fn typed(res: &Resource) -> Option<usize> {
    schema::type_of(&res.group, &res.version, &res.kind).filter(|_| !res.custom)
}

/// What a webhook has made of an object, as the store has it.
fn decoded(attempt: &Attempt<'_>, mut value: Value, res: &Resource) -> Result<Value, StatusError> {
    if attempt.sub == Subresource::Scale {
        return Ok(value);
    }
    let fields = crate::store::json::fields(&mut value);
    fields.insert("apiVersion".to_owned(), res.api_version().into());
    fields.insert("kind".to_owned(), res.kind.clone().into());
    if let Some(of) = typed(res) {
        schema::checked(of, &mut value).map_err(|why| StatusError::internal(answer::short(why)))?;
    }
    crd::settle(res, &mut value)?;
    convert::to_storage(res, &mut value);
    Ok(value)
}

/// The operations of a patch; else why it is none.
fn operations(response: &Response) -> Result<Option<Vec<Value>>, String> {
    let undecodable =
        |why: String| format!("received undecodable patch in webhook response: {why}");
    let patch: Value = serde_json::from_slice(&response.patch)
        .map_err(|error| undecodable(answer::in_go(&error)))?;
    match patch {
        Value::Null => Ok(None),
        Value::Array(operations) => match operations.iter().find(|one| !one.is_object()) {
            None => Ok(Some(operations).filter(|operations| !operations.is_empty())),
            Some(Value::Null) => Ok(Some(operations)),
            Some(other) => Err(undecodable(format!(
                "json: cannot unmarshal {} into Go value of type jsonpatch.Operation",
                schema::kind_of(other)
            ))),
        },
        other => Err(undecodable(format!(
            "json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            schema::kind_of(&other)
        ))),
    }
}

/// What comes of a webhook that could not be asked.
fn failed<T>(hook: &Hook, why: &str) -> Result<Option<T>, StatusError> {
    if hook.on_failure == OnFailure::Ignore {
        tracing::warn!(
            webhook = hook.name,
            configuration = hook.of,
            why,
            "a webhook failed, and is passed over"
        );
        return Ok(None);
    }
    Err(answer::failure(hook, why))
}

/// What a webhook has said that lets a write pass; none if it has not been heard, and need not be.
fn said(
    hook: &Hook,
    reply: Reply,
    asked: &Asked<'_>,
) -> Result<Option<Arc<Response>>, StatusError> {
    let response = match reply {
        Reply::Failed(why) => return failed(hook, &why),
        Reply::Said(response) => response,
    };
    for warning in &response.warnings {
        asked.warnings.add(warning);
    }
    if response.allowed {
        return Ok(Some(response));
    }
    Err(answer::refusal(hook, &response.status))
}

impl Version {
    /// The apiVersion of its reviews.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1beta1 => "admission.k8s.io/v1beta1",
        }
    }
}
