//! Keeps the published view of each virtual service. Only the views of changed services are rebuilt.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::desired;
use crate::director::Director;
use crate::report::{self, Moment, ServiceView, View};
use crate::value::VirtualId;

use super::directory::Claims;

/// The last view.
pub struct Publisher {
    name: Arc<str>,
    config: Arc<str>,
    services: Vec<Arc<ServiceView>>,
    /// The services as readers have them. `None` after a change.
    shared: Option<Arc<[Arc<ServiceView>]>>,
    stale: BTreeSet<usize>,
}

impl Publisher {
    /// Creates the publisher for the daemon of this name and the configuration at this path.
    #[must_use]
    pub fn new(name: &str, config: &Path) -> Publisher {
        Publisher {
            name: Arc::from(name),
            config: Arc::from(config.display().to_string()),
            services: Vec::new(),
            shared: None,
            stale: BTreeSet::new(),
        }
    }

    /// The name of the daemon.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The path of the configuration.
    pub fn config(&self) -> Arc<str> {
        Arc::clone(&self.config)
    }

    /// The state of all services.
    pub fn view(&mut self, director: &mut Director, elsewhere: Option<&Claims>, now: Moment) -> Arc<View> {
        self.stale.extend(director.take_changed());
        let count = director.spec().virtuals().len();
        if self.services.len() > count {
            self.services.truncate(count);
            self.shared = None;
        }
        let known = self.services.len();
        self.stale.extend(known..count);
        // These are from an earlier, larger spec.
        self.stale.retain(|index| *index < count);
        if !self.stale.is_empty() {
            self.shared = None;
        }
        for index in std::mem::take(&mut self.stale) {
            let service = Arc::new(service(director, index));
            match self.services.get_mut(index) {
                Some(known) => *known = service,
                None => self.services.push(service),
            }
        }
        let elsewhere = elsewhere.into_iter().flatten();
        Arc::new(View {
            name: Arc::clone(&self.name),
            config: Arc::clone(&self.config),
            at: now,
            services: Arc::clone(self.shared.get_or_insert_with(|| Arc::from(self.services.as_slice()))),
            late_checks: director.health().late_checks(),
            elsewhere: elsewhere.map(|(key, owner)| (desired::virtual_id(*key), owner.clone())).collect(),
        })
    }

    /// The state of one service. `None` if the spec does not have it.
    pub fn one(&mut self, director: &mut Director, id: VirtualId) -> Option<Arc<ServiceView>> {
        let index = director.spec().virtual_index(id)?;
        self.stale.extend(director.take_changed());
        match self.services.get_mut(index) {
            Some(known) => {
                if self.stale.remove(&index) {
                    self.shared = None;
                    *known = Arc::new(service(director, index));
                }
                Some(Arc::clone(known))
            }
            None => Some(Arc::new(service(director, index))),
        }
    }
}

fn service(director: &Director, index: usize) -> ServiceView {
    report::service(director.spec(), director.health(), director.table(), index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::harness::{Harness, spec};

    #[test]
    fn only_what_changed_is_looked_at_again() {
        let text = |count: u16| -> String {
            (0..count)
                .map(|n| format!("virtual=10.0.0.1:{}\n\treal=10.0.0.2:{} masq\n", 80 + n, 80 + n))
                .collect()
        };
        let mut harness = Harness::new();
        harness.start(spec(&text(3)));
        harness.round();
        let now = Moment { instant: harness.now, wall: std::time::SystemTime::UNIX_EPOCH };
        let mut publisher = Publisher::new("web.cf", Path::new("/etc/ha.d/web.cf"));
        let first = publisher.view(harness.director(), None, now);
        assert_eq!(first.services.len(), 3);
        let same = publisher.view(harness.director(), None, now);
        assert!(Arc::ptr_eq(&first.services, &same.services));
        let id = "tcp:10.0.0.1:81".parse().unwrap();
        let one = publisher.one(harness.director(), id).unwrap();
        assert!(Arc::ptr_eq(&one, &first.services[1]));
        harness.round();
        let next = publisher.one(harness.director(), id).unwrap();
        assert!(!Arc::ptr_eq(&next, &one));
        assert!(Arc::ptr_eq(&next, &publisher.view(harness.director(), None, now).services[1]));
        // A new configuration has different indices, so all views are stale.
        harness.round();
        publisher.one(harness.director(), id).unwrap();
        harness.reload(spec(&text(2)));
        let after = publisher.view(harness.director(), None, now);
        assert_eq!(after.services.len(), 2);
        assert!(publisher.one(harness.director(), "fwm:7".parse().unwrap()).is_none());
    }
}
