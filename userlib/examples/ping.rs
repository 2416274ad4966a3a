//! The shortest pinger: `cargo run -p instamp --example ping -- ADDRESS`.

use instamp::prober::{Config, Prober};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::env::args().nth(1).ok_or("usage: ping ADDRESS")?.parse()?;
    let mut prober = Prober::new(Config { count: Some(3), ..Config::new(target) })?;
    while let Some(event) = prober.next().await {
        println!("{event:?}");
    }
    Ok(())
}
