//! A new answer in the place of the old one: what it depends on, which addresses it claims, and what is news.
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Delta, Directory, Holder};
use crate::discovery::model::Key;
use crate::discovery::view::{Source, View};

impl Directory {
    pub(super) fn install(
        &mut self,
        key: &Key,
        view: Option<View>,
        (delta, addresses): (&mut Delta, &mut BTreeSet<IpAddr>),
    ) {
        let old = self.views.remove(key);
        self.note_asks(key, (old.as_deref(), view.as_ref()));
        if let Some(old) = &old {
            for source in &old.sources {
                self.dependents.remove(&(source.clone(), key.clone()));
            }
            for ip in &old.service.ips {
                self.claims.remove(&(*ip, key.clone()));
            }
        }
        let view = match (view, old) {
            (Some(new), Some(old)) if new.says_the_same(&old) && new.sources == old.sources => {
                Some((old, false))
            }
            (Some(new), Some(old)) => {
                if new.service != old.service {
                    addresses.extend(old.service.ips.iter().chain(&new.service.ips));
                }
                Some((Arc::new(new), true))
            }
            (Some(new), None) => {
                addresses.extend(&new.service.ips);
                Some((Arc::new(new), true))
            }
            (None, Some(old)) => {
                addresses.extend(&old.service.ips);
                delta.services.push((key.clone(), None));
                None
            }
            (None, None) => None,
        };
        let Some((view, news)) = view else { return };
        for source in &view.sources {
            self.dependents.insert((source.clone(), key.clone()));
        }
        for ip in &view.service.ips {
            self.claims.insert((*ip, key.clone()));
        }
        if news {
            delta.services.push((key.clone(), Some(Arc::clone(&view))));
        }
        self.views.insert(key.clone(), view);
    }

    /// What a Service refers to now and did not before, and the other way round.
    fn note_asks(&mut self, by: &Key, (old, new): (Option<&View>, Option<&View>)) {
        let none = BTreeSet::new();
        let old = old.map_or(&none, |view| &view.sources);
        let new = new.map_or(&none, |view| &view.sources);
        let asked = |source: &Source| {
            let remote = self.remotes.get(source.cluster.as_ref()?)?;
            Some((remote.peer?, source.asks_for()?.clone()))
        };
        let begun: Vec<_> = new.difference(old).filter_map(asked).collect();
        let ended = old.difference(new).filter(|source| {
            let from = ((*source).clone(), Key::new("", ""));
            let others = self.dependents.range(from..);
            let mut others = others.take_while(|(of, _)| of == *source);
            others.all(|(_, key)| key == by)
        });
        let ended: Vec<_> = ended.filter_map(asked).collect();
        for ask in ended {
            self.asks.begun.remove(&ask);
            self.asks.ended.insert(ask);
        }
        for ask in begun {
            self.asks.ended.remove(&ask);
            self.asks.begun.insert(ask);
        }
    }

    pub(super) fn install_pod(
        &mut self,
        key: &Key,
        (delta, addresses): (&mut Delta, &mut BTreeSet<IpAddr>),
    ) {
        if let Some(old) = self.pods.remove(key) {
            for ip in &old.ips {
                if self.pod_ips.get(ip) == Some(key) {
                    self.pod_ips.remove(ip);
                }
                addresses.insert(*ip);
            }
        }
        let pod = self.local.pod(key).cloned();
        if let Some(pod) = &pod {
            for ip in &pod.ips {
                self.pod_ips.insert(*ip, key.clone());
                addresses.insert(*ip);
            }
            self.pods.insert(key.clone(), Arc::clone(pod));
        }
        delta.pods.push((key.clone(), pod));
    }

    pub(super) fn holder(&self, ip: IpAddr) -> Holder {
        let from = (ip, Key::new("", ""));
        let claims = self.claims.range(from..).take_while(|(of, _)| *of == ip);
        let claimants: Vec<&Key> = claims.map(|(_, key)| key).collect();
        if let [only] = claimants.as_slice()
            && let Some(view) = self.views.get(*only)
        {
            return Holder::Service(Arc::clone(&view.service));
        }
        if !claimants.is_empty() {
            return Holder::Conflict(claimants.into_iter().cloned().collect());
        }
        let pod = self.pod_ips.get(&ip).and_then(|key| self.pods.get(key));
        pod.map_or(Holder::Nobody, |pod| Holder::Pod(Arc::clone(pod)))
    }
}
