//! How connections are made, kept and given up.

use std::time::Duration;

use bluegreen_http_client::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use bluegreen_http_client::{Client, Method, StatusCode, Url};
use bluegreen_testkit::http::{Server, answer};

/// Answers with what it was asked.
async fn echo() -> Server {
    Server::answering(|request| answer("200 OK", &[], request)).await
}

fn url(server: &Server, path: &str) -> Url {
    Url::parse(&format!("http://{}{path}", server.address)).unwrap()
}

async fn get(client: &Client, url: &Url) -> String {
    let response = client.send(client.request(Method::GET, url).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(response.body(1 << 20).await.unwrap().bytes).unwrap()
}

#[tokio::test]
async fn each_request_has_a_connection_of_its_own_unless_connections_are_kept() {
    let server = echo().await;
    let url = url(&server, "/");
    for (builder, connections) in [(Client::builder(), 3), (Client::builder().keep_idle(Duration::from_secs(5)), 1)] {
        let (client, before) = (builder.direct().https(false).build().unwrap(), server.connections());
        for _ in 0..3 {
            get(&client, &url).await;
        }
        assert_eq!(server.connections() - before, connections);
    }
}

#[tokio::test]
async fn a_kept_connection_is_given_up_when_its_time_is_over() {
    let server = echo().await;
    let client = Client::builder().direct().keep_idle(Duration::from_millis(50)).https(false).build().unwrap();
    get(&client, &url(&server, "/")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    get(&client, &url(&server, "/")).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn the_request_is_what_was_asked_for_and_a_password_in_the_url_is_a_header() {
    let server = echo().await;
    let client = Client::builder().direct().https(false).build().unwrap();
    let mut url = url(&server, "/a%20b?x=1#nowhere");
    url.set_username("anna").unwrap();
    url.set_password(Some("p%40ss")).unwrap();
    let mut request = client.request(Method::POST, &url).unwrap();
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
    request.headers_mut().insert(HOST, HeaderValue::from_static("shop.example.com"));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/plain"));
    *request.body_mut() = "hello".into();
    let response = client.send(request).await.unwrap();
    let text = String::from_utf8(response.body(1 << 20).await.unwrap().bytes).unwrap();
    assert!(text.starts_with("POST /a%20b?x=1 HTTP/1.1\r\n"), "{text}");
    for line in
        ["host: shop.example.com", "accept: text/plain", "authorization: Basic YW5uYTpwQHNz", "content-length: 5"]
    {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
    }
    assert!(text.contains("\r\nuser-agent: bluegreen/"), "{text}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server =
        Server::answering(|_| b"HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let client = Client::builder().direct().https(false).build().unwrap();
    let response = client.send(client.request(Method::GET, &url(&server, "/")).unwrap()).await.unwrap();
    assert_eq!((response.status(), server.connections()), (StatusCode::FOUND, 1));
}

#[tokio::test]
async fn no_connection_and_no_encryption_in_time_mean_that_nothing_was_sent() {
    let closed = Url::parse("http://127.0.0.1:1/").unwrap();
    let client = Client::builder().direct().https(false).build().unwrap();
    let error = client.send(client.request(Method::GET, &closed).unwrap()).await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    assert_eq!(error.to_string(), "Connection refused (os error 111)");

    // It accepts, and never says a word of TLS.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://{}/", silent.local_addr().unwrap())).unwrap();
    let client = Client::builder().direct().connect_timeout(Duration::from_millis(200)).build().unwrap();
    let error = client.send(client.request(Method::GET, &url).unwrap()).await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    assert_eq!(error.to_string(), "no connection within 0.2 s");
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_told_from_one_that_never_was() {
    let server = Server::answering(|_| Vec::new()).await;
    let client = Client::builder().direct().keep_idle(Duration::from_secs(5)).https(false).build().unwrap();
    let error = client.send(client.request(Method::GET, &url(&server, "/")).unwrap()).await.unwrap_err();
    assert!(!error.is_connect() && !error.is_request(), "{error}");
    assert_eq!(server.connections(), 1, "nothing is sent again");
}
