//! Whether the process is ready: when every condition that was named at start has been met.
use std::sync::Arc;

use parking_lot::Mutex;

/// What a process still waits for. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    conditions: Arc<Mutex<Vec<(&'static str, State)>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Met,
}

/// One condition; whoever holds it says when it is met, and when no longer.
#[derive(Clone, Debug)]
pub struct Condition {
    ready: Ready,
    name: &'static str,
}

impl Ready {
    /// Ready at once, until a condition is named.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names a condition that is not met yet.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            ready: self.clone(),
            name,
        };
        condition.set(State::Waiting);
        condition
    }

    /// The conditions that are not met, in the order in which they were named.
    #[must_use]
    pub fn waiting(&self) -> Vec<&'static str> {
        let conditions = self.conditions.lock();
        conditions
            .iter()
            .filter(|(_, s)| *s == State::Waiting)
            .map(|(name, _)| *name)
            .collect()
    }

    /// Whether all conditions are met.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions
            .lock()
            .iter()
            .all(|(_, state)| *state == State::Met)
    }
}

impl Condition {
    /// The condition is met.
    pub fn met(&self) {
        self.set(State::Met);
    }

    /// The condition is not met any more.
    pub fn lost(&self) {
        self.set(State::Waiting);
    }

    fn set(&self, state: State) {
        let mut conditions = self.ready.conditions.lock();
        match conditions.iter_mut().find(|(name, _)| *name == self.name) {
            Some((_, known)) => *known = state,
            None => conditions.push((self.name, state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_is_met() {
        let ready = Ready::new();
        assert!(ready.is_ready());
        let (identity, listeners) = (ready.condition("identity"), ready.condition("listeners"));
        assert_eq!(ready.waiting(), ["identity", "listeners"]);
        identity.met();
        listeners.met();
        assert!(ready.is_ready());
        identity.lost();
        assert_eq!(ready.waiting(), ["identity"]);
    }
}
