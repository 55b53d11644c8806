//! The sagas of a bench: good ones, and now and then one that fails.

use std::time::Duration;

use anyhow::Context as _;
use redress_coordinator::{Engine, StartRequest};
use redress_core::{SagaDefinition, SagaId};
use redress_participant::Service;
use serde_json::{Value, json};

use super::args::{BenchArgs, Participants};
use super::preload::Templates;
use crate::program::App;

/// How long a single saga may take.
const TEMPLATE_PATIENCE: Duration = Duration::from_secs(60);

/// The sagas to start.
#[derive(Clone)]
pub(super) struct Load {
    saga: &'static str,
    good: Value,
    bad: Value,
    bad_faults: Option<Value>,
    fail_rate: f64,
}

/// The services to which the saga of the load sends commands.
pub(super) fn services_of_the_load(app: &App) -> Vec<&'static str> {
    let saga = app.demo.first().map(|start| start.saga);
    let of_saga = |it: &&SagaDefinition| saga.is_none_or(|saga| *it.name == *saga);
    let steps = || app.definitions.iter().filter(of_saga).flat_map(|it| &it.steps);
    let is_needed = |it: &&str| steps().any(|step| *step.service == **it);
    app.services.iter().map(Service::name).filter(is_needed).collect()
}

impl Load {
    pub(super) fn new(app: &App, args: &BenchArgs) -> Self {
        let fail_rate = args.fail_rate;
        let good = app.demo.first();
        let bad = app.demo.iter().rfind(|it| good.is_some_and(|good| good.saga == it.saga));
        match (args.participants, good, bad) {
            (Participants::Real, Some(good), Some(bad)) => {
                let (saga, good, bad) = (good.saga, good.input.clone(), bad.input.clone());
                Self { saga, good, bad, bad_faults: None, fail_rate }
            }
            (Participants::Real | Participants::Echo, _, _) => {
                let input = json!({
                    "customer": "alice", "address": "1 Harbour Street, Reykjavik", "sku": "book",
                    "quantity": 2, "amount": 3000,
                });
                let reject = json!([{ "step": "ship", "kind": "reject", "code": "bench" }]);
                let (good, bad) = (input.clone(), input);
                Self { saga: "bench-order", good, bad, bad_faults: Some(reject), fail_rate }
            }
        }
    }

    /// The part of the sagas that fails.
    pub(super) const fn fail_rate(&self) -> f64 {
        self.fail_rate
    }

    /// The saga of this number; every so many, by the rate, is one that fails.
    pub(super) fn request(&self, number: u64) -> StartRequest {
        let failures = |count: u64| (count as f64 * self.fail_rate) as u64;
        self.start(failures(number + 1) > failures(number))
    }

    fn start(&self, fails: bool) -> StartRequest {
        StartRequest {
            saga: self.saga.to_owned(),
            input: if fails { self.bad.clone() } else { self.good.clone() },
            faults: if fails { self.bad_faults.clone() } else { None },
            key: uuid::Uuid::now_v7().to_string(),
            ..StartRequest::default()
        }
    }

    /// Plays one saga of each kind, to be copied.
    ///
    /// # Errors
    /// If one does not end.
    pub(super) async fn templates(&self, engine: &Engine) -> anyhow::Result<Templates> {
        let (completed, undone) = (self.play_one(engine, false).await?, self.play_one(engine, true).await?);
        Ok(Templates { completed, undone })
    }

    async fn play_one(&self, engine: &Engine, fails: bool) -> anyhow::Result<SagaId> {
        let saga = engine.start_awaited(self.start(fails)).await?.ended(TEMPLATE_PATIENCE).await?;
        let ended = saga.filter(|saga| saga.ended_at.is_some());
        Ok(ended.context("the saga that was to be copied has not ended")?.id)
    }
}
