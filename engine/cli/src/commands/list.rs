//! `redress list`

use reqwest::Method;

use crate::args::{ListArgs, Output};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(args: ListArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let mut query = vec![("limit", args.limit.to_string())];
    let optional = [
        ("status", args.status),
        ("saga", args.saga),
        ("q", args.query),
        ("tag", args.tag),
        ("since", args.since),
        ("until", args.until),
        ("stalled", args.stalled.then(|| "true".to_owned())),
        ("cursor", args.cursor),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let list = client.send(client.request(Method::GET, "/v1/sagas").query(&query)).await?;
    render::print_list(output, &list, render::sagas);
    if let (Output::Text, Some(cursor)) = (output, list["next"].as_str()) {
        eprintln!("there are more: add --cursor {cursor}");
    }
    Ok(Exit::Ok)
}
