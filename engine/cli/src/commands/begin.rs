//! `redress begin`

use reqwest::Method;

use crate::args::{ApiArgs, Output};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(args: ApiArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args)?;
    let begun = client.send(client.request(Method::POST, "/v1/begin")).await?;
    render::print(output, &begun, |begun| {
        let was_paused = begun["was_paused"].as_bool().unwrap_or_default();
        if was_paused { "sagas move".to_owned() } else { "sagas were moving already".to_owned() }
    });
    Ok(Exit::Ok)
}
