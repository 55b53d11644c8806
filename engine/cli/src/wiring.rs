//! Checks that every command of a saga has a handler, and one that gives the step the delivery that it wants, before
//! anything starts.
//!
//! Without it a command that no service handles is refused half a minute after the first saga has sent it, and a
//! compensation only when the first saga turns back: then the saga parks, in production.
//!
//! A step that is delivered exactly once is settled when it is in doubt, and undone: a handler without an inbox cannot answer
//! for it. The other way round all is well: a step that is delivered at least once may have a handler behind an inbox,
//! which gives more than was asked for, and costs a row of it.
//!
//! A program without services of its own is a coordinator alone: all of its services run elsewhere. In a program that has
//! services, those that run elsewhere are named ([`App::remote`]). A notification needs no listener.

use std::fmt;

use redress_core::definition::{Step, StepKind};
use redress_core::{Name, Phase, SagaDefinition};
use redress_participant::{AckMode, Service};
use thiserror::Error;

use crate::program::App;

/// Commands of sagas that no service of the program handles, or not with the delivery that their step wants.
#[derive(Debug, Error)]
#[error("{}", lines(.missing, .unfit))]
pub struct WiringError {
    missing: Vec<MissingHandler>,
    unfit: Vec<UnfitHandler>,
}

/// A handler that gives a step less than the delivery that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitHandler {
    /// The saga.
    pub saga: Name,
    /// The version of its definition.
    pub version: u32,
    /// The step.
    pub step: Name,
    /// The command of its action.
    pub command: Name,
    /// The service.
    pub service: Name,
    /// The delivery that the step wants, as one word.
    pub wanted: &'static str,
    /// When the service acknowledges the command.
    pub given: AckMode,
}

/// A command of a saga that no service of the program handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingHandler {
    /// The saga.
    pub saga: Name,
    /// The version of its definition.
    pub version: u32,
    /// The step.
    pub step: Name,
    /// The command is its action or its compensation.
    pub phase: Phase,
    /// The command.
    pub command: Name,
    /// The service to which the command belongs.
    pub service: Name,
    /// True if the program has this service, without the handler.
    pub has_service: bool,
}

impl WiringError {
    /// The commands that have no handler, saga by saga and step by step.
    pub fn missing(&self) -> &[MissingHandler] {
        &self.missing
    }

    /// The handlers that give less than the step wants, saga by saga and step by step.
    pub fn unfit(&self) -> &[UnfitHandler] {
        &self.unfit
    }
}

fn lines(missing: &[MissingHandler], unfit: &[UnfitHandler]) -> String {
    let missing = missing.iter().map(MissingHandler::to_string);
    missing.chain(unfit.iter().map(UnfitHandler::to_string)).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for UnfitHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { saga, version, step, command, service, wanted, given } = self;
        write!(
            f,
            "saga `{saga}` v{version}, step `{step}`: it is delivered {wanted}, and `{service}` handles `{command}` \
             {}, without an inbox, so it could neither be settled nor undone; handle it behind one (`impl Handle`), or say \
             `.delivery(Delivery::AtLeastOnce)` of the step, if it is not the pivot, nothing undoes it, and doing it twice \
             does no harm",
            given.guarantee()
        )
    }
}

impl fmt::Display for MissingHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { saga, version, step, phase, command, service, has_service } = self;
        write!(
            f,
            "saga `{saga}` v{version}, step `{step}`: no service of this program handles the {phase} `{command}`"
        )?;
        match has_service {
            true => write!(f, "; give `{service}` a handler for it")?,
            false => write!(f, "; add the service with `.services(..)`")?,
        }
        write!(f, ", or say `.remote(\"{service}\")` if `{service}` runs in another program")
    }
}

impl App {
    /// Checks that every action and every compensation of the sagas has a handler in a service of this program, one that gives
    /// the step the delivery that it wants, or belongs to a service that runs elsewhere ([`App::remote`]).
    ///
    /// `demo`, `up`, `serve` and `service` refuse to start otherwise; a test may call it before. A program without any
    /// services is a coordinator alone, and not checked.
    ///
    /// ```
    /// # use redress_cli::app;
    /// # fn sagas() -> Vec<redress_core::SagaDefinition> { Vec::new() }
    /// # fn services() -> Vec<redress_participant::Service> { Vec::new() }
    /// # fn main() -> Result<(), redress_cli::WiringError> {
    /// app(sagas()).services(services()).remote("payment").check_wiring()
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WiringError`] names each saga, step and command without a handler, or with one that gives too little.
    pub fn check_wiring(&self) -> Result<(), WiringError> {
        if self.services.is_empty() {
            return Ok(());
        }
        let missing: Vec<MissingHandler> = self
            .definitions
            .iter()
            .flat_map(|definition| missing(definition, &self.services, &self.remote))
            .collect();
        let unfit: Vec<UnfitHandler> =
            self.definitions.iter().flat_map(|definition| unfit(definition, &self.services)).collect();
        if missing.is_empty() && unfit.is_empty() { Ok(()) } else { Err(WiringError { missing, unfit }) }
    }
}

/// The handlers of these services that give a step of the saga less than it wants.
fn unfit(definition: &SagaDefinition, services: &[Service]) -> Vec<UnfitHandler> {
    let answered = |step: &&Step| step.kind.is_sent() && !matches!(step.kind, StepKind::Notification);
    let steps = definition.steps.iter().filter(answered);
    let given = |step: &Step| {
        let service = services.iter().find(|service| service.name() == step.service.as_str())?;
        service.ack_mode(&step.command)
    };
    let handled = steps.filter_map(|step| Some((step, given(step)?)));
    let unfit = handled.filter(|(step, given)| *given == AckMode::AfterReply && !given.is_enough_for(step));
    unfit
        .map(|(step, given)| UnfitHandler {
            saga: definition.name.clone(),
            version: definition.version,
            step: step.name.clone(),
            command: step.command.clone(),
            service: step.service.clone(),
            wanted: step.guarantee().unwrap_or_default(),
            given,
        })
        .collect()
}

/// The commands of a saga that none of these services handles and that belong to no remote one.
fn missing(definition: &SagaDefinition, services: &[Service], remote: &[String]) -> Vec<MissingHandler> {
    let is_handled = |step: &Step, phase, command: &Name| {
        remote.iter().any(|service| *service == *step.service.as_str())
            || services.iter().any(|it| it.name() == step.service.as_str() && it.handles(phase, command))
    };
    let mut missing = Vec::new();
    for step in &definition.steps {
        for (phase, command) in answered(step) {
            if !is_handled(step, phase, command) {
                missing.push(MissingHandler {
                    saga: definition.name.clone(),
                    version: definition.version,
                    step: step.name.clone(),
                    phase,
                    command: command.clone(),
                    service: step.service.clone(),
                    has_service: services.iter().any(|it| it.name() == step.service.as_str()),
                });
            }
        }
    }
    missing
}

/// The commands of a step that are to be answered.
fn answered(step: &Step) -> Vec<(Phase, &Name)> {
    let action = match &step.kind {
        StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable => {
            Some((Phase::Action, &step.command))
        }
        StepKind::Notification | StepKind::Wait(_) | StepKind::Event(_) => None,
    };
    let compensation = step.compensation().map(|it| (Phase::Compensation, &it.command));
    action.into_iter().chain(compensation).collect()
}

#[cfg(test)]
mod tests {
    use redress_core::definition::Delivery;
    use redress_core::{Command, Compensates, saga};
    use redress_participant::{
        Answer, Compensate, Handle, HandleAtLeastOnce, Participant, Received, Service, ServiceHandlers, Tx,
        Undone, done,
    };
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::command_line::Cli;
    use crate::program::app;

    macro_rules! commands {
        ($($name:ident = $service:literal $command:literal),+) => { $(
            #[derive(Serialize, Deserialize, JsonSchema)]
            struct $name {}
            impl Command for $name {
                const SERVICE: &'static str = $service;
                const NAME: &'static str = $command;
                type Reply = ();
            }
        )+ };
    }

    commands!(Charge = "payment" "charge", Refund = "payment" "refund", Ship = "shipping" "ship", Seen = "board" "seen");

    impl Compensates<Charge> for Refund {}

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Sale {}

    fn sell() -> SagaDefinition {
        saga::<Sale>("sell", 3)
            .step("take-money", |_| Charge {})
            .compensate(|_| Refund {})
            .notify("tell-board", |_| Seen {})
            .pivot("send-parcel", |_| Ship {})
            .build()
    }

    #[derive(Clone)]
    struct Payments;

    impl Handle<Charge> for Payments {
        async fn handle(&self, _: &mut Tx<'_>, _: Charge) -> Answer<()> {
            done(())
        }
    }

    impl Compensate<Refund> for Payments {
        async fn compensate(&self, _: &mut Tx<'_>, _: Refund) -> Undone<()> {
            Ok(())
        }
    }

    impl ServiceHandlers for Payments {
        const SERVICE: &'static str = "payment";

        fn register(participant: Participant<Self>) -> Participant<Self> {
            participant.handle::<Charge>().compensate::<Refund>()
        }
    }

    fn payments() -> Service {
        Service::of(Payments, || None)
    }

    /// The handler of the compensation is forgotten.
    fn forgetful() -> Service {
        Service::new("payment", || None, |it: Participant<Payments>| it.handle::<Charge>(), Payments)
    }

    #[test]
    fn command_without_handler_is_refused_with_saga_step_and_remedy() {
        let refused = app([sell()]).services([forgetful()]).check_wiring().unwrap_err();
        insta::assert_snapshot!(refused, @r#"
        saga `sell` v3, step `take-money`: no service of this program handles the compensation `refund`; give `payment` a handler for it, or say `.remote("payment")` if `payment` runs in another program
        saga `sell` v3, step `send-parcel`: no service of this program handles the action `ship`; add the service with `.services(..)`, or say `.remote("shipping")` if `shipping` runs in another program
        "#);
        let phases: Vec<Phase> = refused.missing().iter().map(|it| it.phase).collect();
        assert_eq!(phases, [Phase::Compensation, Phase::Action]);
    }

    impl Handle<Ship> for Payments {
        async fn handle(&self, _: &mut Tx<'_>, _: Ship) -> Answer<()> {
            done(())
        }
    }

    impl HandleAtLeastOnce<Ship> for Payments {
        async fn handle_at_least_once(&self, _: &Received, _: Ship) -> Answer<()> {
            done(())
        }
    }

    fn send(delivery: Delivery) -> SagaDefinition {
        saga::<Sale>("send", 1).step("send-parcel", |_| Ship {}).no_compensation().delivery(delivery).build()
    }

    #[test]
    fn exactly_once_step_with_a_handler_without_inbox_is_refused_with_remedy() {
        let repeated = Service::new(
            "shipping",
            || None,
            |it: Participant<Payments>| it.handle_at_least_once::<Ship>(),
            Payments,
        );
        let kept =
            Service::new("shipping", || None, |it: Participant<Payments>| it.handle::<Ship>(), Payments);
        let wired =
            |delivery, service: &Service| app([send(delivery)]).services([service.clone()]).check_wiring();
        let refused = wired(Delivery::ExactlyOnce, &repeated).unwrap_err();
        insta::assert_snapshot!(refused, @r"saga `send` v1, step `send-parcel`: it is delivered exactly-once, and `shipping` handles `ship` at-least-once, without an inbox, so it could neither be settled nor undone; handle it behind one (`impl Handle`), or say `.delivery(Delivery::AtLeastOnce)` of the step, if it is not the pivot, nothing undoes it, and doing it twice does no harm");
        assert_eq!(refused.unfit()[0].given, AckMode::AfterReply);
        assert!(wired(Delivery::AtLeastOnce, &repeated).is_ok());
        assert!(wired(Delivery::AtLeastOnce, &kept).is_ok(), "an inbox gives more than was asked for");
        assert!(wired(Delivery::ExactlyOnce, &kept).is_ok());
        assert!(!repeated.needs_database() && kept.needs_database());
    }

    #[test]
    fn remote_service_needs_no_handler_here() {
        assert!(app([sell()]).services([payments()]).check_wiring().is_err());
        assert!(app([sell()]).services([payments()]).remote("shipping").check_wiring().is_ok());
        assert!(app([sell()]).check_wiring().is_ok(), "a coordinator alone");
    }

    #[test]
    fn wiring_is_checked_before_servers_are_looked_for() {
        let unwired = app([sell()]).services([forgetful()]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for line in ["demo --exit", "up", "serve", "service payment"] {
            let words = ["redress"].into_iter().chain(line.split(' '));
            let failure = runtime.block_on(unwired.clone().run(Cli::read(words).unwrap())).unwrap_err();
            assert!(failure.error().is::<WiringError>(), "{line}: {}", failure.error());
        }
    }
}
