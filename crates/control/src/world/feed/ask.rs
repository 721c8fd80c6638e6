//! What a cluster is asked: whether it answers, who it is, and what it lets us do.
//!
//! Decides which question is one that our role is not denied. Keeps nothing.
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};

use super::{SERVERS, SERVERS_GROUP, SERVERS_VERSION, What, causes, words};

/// How long it may take to answer.
const ASK_DEADLINE: Duration = Duration::from_secs(2);

/// What a cluster is asked once a second: something that it does not deny.
#[derive(Clone, Copy)]
pub(super) enum Question {
    /// By which uid it is known.
    Uid,
    /// Which version it is, where the role does not let us read the namespace that has the uid, as Linkerd's.
    Version,
}

/// One cheap question, which also tells the uid by which a cluster is known. A refusal is an answer,
/// unless it is our credential that is refused.
pub(super) async fn ask(client: &kube::Client, question: &mut Option<Question>) -> What {
    let asked = async {
        let chosen = match *question {
            Some(chosen) => chosen,
            None => *question.insert(choose(client).await?),
        };
        match chosen {
            Question::Uid => {
                let namespaces: Api<Namespace> = Api::all(client.clone());
                let object = namespaces.get_metadata("kube-system").await?;
                Ok(object.metadata.uid)
            }
            Question::Version => client.apiserver_version().await.map(|_| None),
        }
    };
    let answer = match tokio::time::timeout(ASK_DEADLINE, asked).await {
        Err(_elapsed) => What::Silent(format!("no answer within {} s", ASK_DEADLINE.as_secs())),
        Ok(Ok(uid)) => return What::Answered(uid),
        Ok(Err(kube::Error::Api(status))) => match status.code {
            401 => What::Refused,
            403 | 404 => What::Answered(None),
            code => What::Silent(format!("it answers {code}: {}", words(&status))),
        },
        Ok(Err(error)) => What::Silent(causes(&error)),
    };
    // Whatever was allowed may be so no longer, or be so now.
    *question = None;
    answer
}

/// Whether there is such a kind, and we are not denied it.
pub(super) async fn may_follow_servers(client: &kube::Client) -> bool {
    let served = async {
        let served = client.list_api_group_resources(SERVERS_VERSION).await;
        served.is_ok_and(|list| list.resources.iter().any(|r| r.name == SERVERS))
    };
    let served = tokio::time::timeout(ASK_DEADLINE, served).await;
    served.unwrap_or(false) && may_follow(client, SERVERS_GROUP, SERVERS).await
}

/// Whether we may list and watch objects of a kind.
pub(super) async fn may_follow(client: &kube::Client, group: &str, resource: &str) -> bool {
    let attributes = |verb: &str| ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        ..ResourceAttributes::default()
    };
    let asked = async {
        may(client, attributes("list")).await.unwrap_or(false)
            && may(client, attributes("watch")).await.unwrap_or(false)
    };
    let answer = tokio::time::timeout(ASK_DEADLINE, asked).await;
    answer.unwrap_or(false)
}

/// Whether we may do something, without being denied it.
pub(crate) async fn may(
    client: &kube::Client,
    attributes: ResourceAttributes,
) -> Result<bool, kube::Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let review = reviews.create(&PostParams::default(), &review).await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

/// Whether we may ask for the uid, without being denied it.
async fn choose(client: &kube::Client) -> Result<Question, kube::Error> {
    let attributes = ResourceAttributes {
        verb: Some("get".to_owned()),
        resource: Some("namespaces".to_owned()),
        name: Some("kube-system".to_owned()),
        namespace: Some("kube-system".to_owned()),
        ..ResourceAttributes::default()
    };
    match may(client, attributes).await {
        Ok(true) => Ok(Question::Uid),
        Ok(false) => Ok(Question::Version),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Question::Version),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(Question::Uid),
        Err(error) => Err(error),
    }
}
