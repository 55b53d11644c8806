//! Redress: saga orchestration over Postgres and JetStream.
