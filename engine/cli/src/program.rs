//! The user's program as the commands see it: definitions, services, and sagas for a demo.

use redress_core::SagaDefinition;
use redress_participant::Service;
use serde_json::Value;

/// A program with all commands, for these definitions.
pub fn app(definitions: impl IntoIterator<Item = SagaDefinition>) -> App {
    App {
        definitions: definitions.into_iter().collect(),
        services: Vec::new(),
        remote: Vec::new(),
        demo: Vec::new(),
    }
}

/// The user's program: definitions, and perhaps services and a demo.
#[derive(Clone)]
pub struct App {
    pub(crate) definitions: Vec<SagaDefinition>,
    pub(crate) services: Vec<Service>,
    /// Names of services that run in other programs.
    pub(crate) remote: Vec<String>,
    pub(crate) demo: Vec<DemoStart>,
}

/// A saga that `redress demo` plays.
#[derive(Clone, Debug, Default)]
pub struct DemoStart {
    /// The title that is shown, in a few words.
    pub title: &'static str,
    /// The definition.
    pub saga: &'static str,
    /// The input.
    pub input: Value,
    /// How it must end: the status, and the code of the cause if it turns back.
    pub expect: (&'static str, Option<&'static str>),
    /// The steps that must be undone, in this order, the last one that was done first.
    pub undone: &'static [&'static str],
    /// The answer that the demo gives, as a person over the API, once the saga awaits it.
    pub answer: Option<DemoAnswer>,
    /// Gives a line of text to be shown below the saga when it has ended: of books outside the engine, say. It is handed the
    /// saga, as `GET /v1/sagas/{id}` shows it.
    pub afterwards: Option<fn(&Value) -> String>,
}

/// An answer that a person gives to a saga of the demo. The step's definition must say `.people_may_answer()`.
#[derive(Clone, Debug)]
pub struct DemoAnswer {
    /// The step that awaits its answer.
    pub step: &'static str,
    /// The person.
    pub actor: &'static str,
    /// The reply of the step's command.
    pub reply: Value,
}

impl App {
    /// Services that `demo`, `up` and `bench` run, and `service` one by one. Every command of the sagas needs a handler in one of
    /// them, unless its service runs elsewhere ([`remote`](App::remote)).
    #[must_use]
    pub fn services(mut self, services: impl IntoIterator<Item = Service>) -> Self {
        self.services.extend(services);
        self
    }

    /// A service that runs in another program, so that its commands need no handler in this one
    /// ([`check_wiring`](App::check_wiring)).
    #[must_use]
    pub fn remote(mut self, service: impl Into<String>) -> Self {
        self.remote.push(service.into());
        self
    }

    /// Sagas that `demo` plays, and that `bench --participants real` runs: the first one, and the last one of the same
    /// definition as the one that fails.
    #[must_use]
    pub fn demo(mut self, demo: impl IntoIterator<Item = DemoStart>) -> Self {
        self.demo.extend(demo);
        self
    }
}
