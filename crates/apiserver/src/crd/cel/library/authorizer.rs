//! What the user of a request may do, as policies ask: `authorizer.group('').resource('pods').check('get').allowed()`.
use std::fmt;
use std::sync::Arc;

use super::super::eval::{Evaluated, Failure, Run};
use super::super::value::Val;
use crate::rbac::{Attributes, Decision};

/// The type of `authorizer` itself.
pub(in crate::crd::cel) const ASKS: &str = "kubernetes.authorization.Authorizer";
/// The type of `authorizer.requestResource`.
pub(in crate::crd::cel) const RESOURCE: &str = "kubernetes.authorization.ResourceCheck";
/// What one question costs.
const STEPS: u64 = 350_000;

/// Who decides: the service account that is meant, if it is not the user, and what it wants to do.
pub(crate) type Decide =
    Arc<dyn Fn(Option<&(String, String)>, &Attributes) -> Decision + Send + Sync>;

/// A question that is being put together.
#[derive(Clone)]
pub(crate) struct Asks {
    decide: Decide,
    account: Option<(String, String)>,
    attributes: Attributes,
    /// What the request itself is about.
    request: Arc<Attributes>,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    Begun,
    Path,
    Group,
    Resource,
    Decided(Decision),
}

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asks").field("step", &self.step).finish()
    }
}

impl Asks {
    /// Nothing asked so far.
    pub(crate) fn new(decide: Decide, request: Attributes) -> Self {
        Self {
            decide,
            account: None,
            attributes: Attributes::default(),
            request: Arc::new(request),
            step: Step::Begun,
        }
    }

    /// The name of its type.
    pub(in crate::crd::cel) fn type_name(&self) -> &'static str {
        match self.step {
            Step::Begun => ASKS,
            Step::Path => "kubernetes.authorization.PathCheck",
            Step::Group => "kubernetes.authorization.GroupCheck",
            Step::Resource => RESOURCE,
            Step::Decided(_) => "kubernetes.authorization.Decision",
        }
    }

    /// A question about what the request is about.
    pub(in crate::crd::cel) fn of_request(&self) -> Self {
        let attributes = Attributes {
            verb: String::new(),
            ..(*self.request).clone()
        };
        self.at(attributes, Step::Resource)
    }

    fn at(&self, attributes: Attributes, step: Step) -> Self {
        Self {
            attributes,
            step,
            ..self.clone()
        }
    }

    fn with(&self, change: impl FnOnce(&mut Attributes), step: Step) -> Val {
        let mut attributes = self.attributes.clone();
        change(&mut attributes);
        Val::Asks(Arc::new(self.at(attributes, step)))
    }

    fn ask(&self, verb: &str) -> Val {
        let attributes = Attributes {
            verb: verb.to_owned(),
            ..self.attributes.clone()
        };
        let decision = (self.decide)(self.account.as_ref(), &attributes);
        Val::Asks(Arc::new(self.at(attributes, Step::Decided(decision))))
    }
}

/// The methods of questions and decisions; nothing if it is none of them.
pub(super) fn call(run: &mut Run, name: &str, args: &[Val]) -> Option<Evaluated> {
    let (Val::Asks(asks), rest) = args.split_first()? else {
        return None;
    };
    let texts: Vec<&str> = rest
        .iter()
        .filter_map(|one| match one {
            Val::Text(text) => Some(&**text),
            _ => None,
        })
        .collect();
    if name == "check"
        && let Err(spent) = run.spend(STEPS)
    {
        return Some(Err(spent));
    }
    let value = match (&asks.step, name, texts.as_slice()) {
        (Step::Begun, "path", [path]) => {
            asks.with(|to| (*path).clone_into(&mut to.path), Step::Path)
        }
        (Step::Begun, "group", [group]) => {
            asks.with(|to| (*group).clone_into(&mut to.group), Step::Group)
        }
        (Step::Begun, "serviceAccount", [namespace, name]) => Val::Asks(Arc::new(Asks {
            account: Some(((*namespace).to_owned(), (*name).to_owned())),
            ..(**asks).clone()
        })),
        (Step::Group, "resource", [resource]) => asks.with(
            |to| {
                (*resource).clone_into(&mut to.resource);
                "*".clone_into(&mut to.version);
            },
            Step::Resource,
        ),
        (Step::Resource, "subresource", [sub]) => {
            asks.with(|to| (*sub).clone_into(&mut to.subresource), Step::Resource)
        }
        (Step::Resource, "namespace", [namespace]) => asks.with(
            |to| to.namespace = Some((*namespace).to_owned()).filter(|name| !name.is_empty()),
            Step::Resource,
        ),
        (Step::Resource, "name", [name]) => {
            asks.with(|to| (*name).clone_into(&mut to.name), Step::Resource)
        }
        (Step::Path | Step::Resource, "check", [verb]) => asks.ask(verb),
        (Step::Decided(decision), "allowed", []) => Val::Bool(decision.allowed),
        (Step::Decided(decision), "reason", []) => Val::text(&decision.reason),
        (Step::Decided(_), "errored", []) => Val::Bool(false),
        (Step::Decided(_), "error", []) => Val::text(""),
        _ => return Some(Err(Failure::overload())),
    };
    Some(Ok(value))
}
