//! HTTP: `GET /metrics`, and `HEAD`, whose body hyper leaves out.

use std::{net::TcpListener, sync::Arc, time::Duration};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::exposition::Format;

/// At one time; others wait.
const CONNECTIONS: usize = 128;
/// Of a connection, for a request's head: who says nothing keeps others waiting no longer.
const HEAD_TIME: Duration = Duration::from_secs(1);
/// From connection to the end of the one answer that it gets: as long as Prometheus waits by default.
const TIME: Duration = Duration::from_secs(10);
/// Of a request's head, in bytes.
const HEAD: usize = 16 << 10;
/// Until another connection is tried, where the process or the system has no room for it.
const PAUSE: Duration = Duration::from_millis(100);

const PAGE: &str = "<!DOCTYPE html><title>instamp exporter</title><a href=\"/metrics\">Metrics</a>\n";

/// Serves for ever.
///
/// # Errors
///
/// Why not.
pub(super) fn serve(listener: TcpListener, registry: Registry) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        listener.set_nonblocking(true).context("cannot make the socket non-blocking")?;
        let listener = tokio::net::TcpListener::from_std(listener).context("cannot watch the socket")?;
        accept(listener, Arc::new(registry)).await
    })
}

async fn accept(listener: tokio::net::TcpListener, registry: Arc<Registry>) -> anyhow::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.context("no more connections")?;
        let Ok((stream, _)) = listener.accept().await else {
            // One that is gone again, or a limit that may pass.
            sleep(PAUSE).await;
            continue;
        };
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let registry = Arc::clone(&registry);
                // Hooks may be waited for: others are answered meanwhile.
                spawn_blocking(move || answer(&request, &registry))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .keep_alive(false)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(stream), answer);
            // Whoever sends garbage, or nothing, is told so or cut off.
            let _ = timeout(TIME, connection).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => metrics(request, registry),
        (&Method::GET | &Method::HEAD, "/") => response(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        (_, "/metrics" | "/") => {
            let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD only\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => response(StatusCode::NOT_FOUND, TEXT, "see /metrics\n"),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn metrics(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    let accepted: Vec<_> = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::preferred(&accepted.join(","));
    match format.write(registry) {
        Ok(body) => response(StatusCode::OK, format.content_type(), body),
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error:#}\n")),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
