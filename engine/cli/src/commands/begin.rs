//! `redress begin`

use redress_client::Call;

use crate::args::{ApiArgs, Output};
use crate::client::{ask, connect};
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(args: ApiArgs, output: Output) -> Result<Exit, Failure> {
    let begun = ask(&connect(&args)?, Call::begin()).await?;
    render::print(output, &begun, |begun| {
        let was_paused = begun["was_paused"].as_bool().unwrap_or_default();
        if was_paused { "sagas move".to_owned() } else { "sagas were moving already".to_owned() }
    });
    Ok(Exit::Ok)
}
