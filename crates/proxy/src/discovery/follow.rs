//! Follows one destination: which one it is (policy), and where it is served (endpoints). Streams
//! that end are opened again; what they told is kept meanwhile.
use std::sync::Arc;

use tokio::sync::watch;
use tombolo_shell::task::Tasks;
use tombolo_wire::purpose::Purpose;
use tonic::{Code, Status};

use super::client::Clients;
use super::translate::{Roll, Target, target};
use super::{Found, Wanted};
use crate::control;
use crate::endpoint::{Destination, EndpointSet, Peer};
use crate::outbound::Outbound;

/// One task's state.
pub(super) struct Follower {
    pub(super) clients: Clients,
    pub(super) outbound: Outbound,
    /// Ends with the last holder of the entry.
    pub(super) tasks: Tasks,
    pub(super) sender: watch::Sender<Found>,
}

impl Follower {
    pub(super) async fn run(self, wanted: Wanted) {
        match &wanted {
            Wanted::Gateway(name) => self.follow_name(name).await,
            Wanted::Addr(_) | Wanted::Authority(_) => self.follow_policy(&wanted).await,
        }
    }

    /// A gateway asks by name alone; that the name does not exist is said by the endpoints.
    async fn follow_name(self, name: &Arc<str>) {
        let (endpoints, receiver) = watch::channel(EndpointSet::Unknown);
        let destination = Arc::new(Destination {
            name: name.clone(),
            endpoints: receiver.clone(),
        });
        let known = self.publish(destination, receiver);
        tokio::join!(
            follow_endpoints(&self.clients, name, Purpose::Gateway, endpoints),
            known
        );
    }

    /// Says whether there is such a destination, whenever that changes.
    async fn publish(
        &self,
        destination: Arc<Destination>,
        mut endpoints: watch::Receiver<EndpointSet>,
    ) {
        while endpoints.changed().await.is_ok() {
            let found = match &*endpoints.borrow_and_update() {
                EndpointSet::Present(_) => Found::Destination(destination.clone()),
                EndpointSet::Absent => Found::Nothing,
                EndpointSet::Unknown => continue,
            };
            let news =
                std::mem::discriminant(&found) != std::mem::discriminant(&*self.sender.borrow());
            if news {
                self.outbound.warm(&destination);
                self.sender.send_replace(found);
            }
        }
    }

    async fn follow_policy(self, wanted: &Wanted) {
        let mut backoff = control::stream_backoff();
        let mut current: Option<(Target, Tasks)> = None;
        loop {
            let status = match self.clients.outbound_policy(wanted).await {
                Err(status) => status,
                Ok(mut stream) => loop {
                    match stream.message().await {
                        Ok(Some(policy)) => {
                            backoff.succeeded();
                            self.switch(elsewhere(target(&policy), wanted), &mut current);
                        }
                        Ok(None) => break Status::ok("the stream ended"),
                        Err(status) => break status,
                    }
                },
            };
            tracing::debug!(%wanted, code = ?status.code(), "the policy stream ended");
            // Not known, or known by another name: that is an answer, unless more was known before.
            if matches!(status.code(), Code::NotFound | Code::InvalidArgument) {
                self.switch(Target::Nowhere, &mut current);
            }
            control::pause(&mut backoff).await;
        }
    }

    /// Sends requests to `next` from now on, if that is news.
    fn switch(&self, next: Target, current: &mut Option<(Target, Tasks)>) {
        if current.as_ref().is_some_and(|(known, _)| *known == next) {
            return;
        }
        let tasks = self.tasks.child();
        let found = match &next {
            Target::Nowhere => Found::Nothing,
            Target::Endpoint(endpoint) => {
                let set = EndpointSet::Present(Arc::from([(**endpoint).clone()]));
                let endpoints = watch::Sender::new(set).subscribe();
                let name = endpoint.addr.to_string().into();
                Found::Destination(Arc::new(Destination { name, endpoints }))
            }
            Target::Name(name) => {
                let (sender, endpoints) = watch::channel(EndpointSet::Unknown);
                let (clients, followed) = (self.clients.clone(), name.clone());
                tasks.spawn_one("endpoints", async move {
                    follow_endpoints(&clients, &followed, Purpose::Own, sender).await;
                });
                Found::Destination(Arc::new(Destination {
                    name: name.clone(),
                    endpoints,
                }))
            }
        };
        if let Found::Destination(destination) = &found {
            self.outbound.warm(destination);
        }
        self.sender.send_replace(found);
        if let Some((_, old)) = current.replace((next, tasks)) {
            old.cancel();
        }
    }
}

/// An address that is no service's is told to be served by itself. For an address on which this
/// very proxy listens, which all are that it is asked for, that would be a circle.
fn elsewhere(target: Target, wanted: &Wanted) -> Target {
    match (target, wanted) {
        (Target::Endpoint(endpoint), Wanted::Addr(addr))
            if endpoint.peer == Peer::Plain && endpoint.addr == *addr =>
        {
            Target::Nowhere
        }
        (target, _) => target,
    }
}

/// Publishes the endpoints of `name` for ever. While the control plane is away, the last ones count.
async fn follow_endpoints(
    clients: &Clients,
    name: &Arc<str>,
    purpose: Purpose,
    sender: watch::Sender<EndpointSet>,
) {
    let mut backoff = control::stream_backoff();
    let mut roll = Roll::default();
    loop {
        roll.reconnected();
        let status = match clients.endpoints(name, purpose).await {
            Err(status) => status,
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(update)) => {
                        backoff.succeeded();
                        if let Some(set) = update.update.and_then(|change| roll.on(change)) {
                            sender.send_if_modified(|known| replace_if_news(known, set));
                        }
                    }
                    Ok(None) => break Status::ok("the stream ended"),
                    Err(status) => break status,
                }
            },
        };
        tracing::debug!(%name, code = ?status.code(), "the endpoint stream ended");
        if matches!(status.code(), Code::NotFound | Code::InvalidArgument) {
            sender.send_if_modified(|known| replace_if_news(known, EndpointSet::Absent));
        }
        control::pause(&mut backoff).await;
    }
}

fn replace_if_news(known: &mut EndpointSet, set: EndpointSet) -> bool {
    if *known == set {
        return false;
    }
    *known = set;
    true
}
