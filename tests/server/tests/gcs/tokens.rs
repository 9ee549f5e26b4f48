//! Tokens over the wire: users who have logged in, and service accounts.

use bayou_test_server::{Access, Action, Fault, GcsOptions, GcsServer, Op, Refusal};
use google_cloud_auth::credentials::{service_account, user_account};
use google_cloud_gax::retry_policy::NeverRetry;

use crate::raw::send;
use crate::support::{BUCKET, Client, status};

fn start() -> GcsServer {
    let server = GcsServer::start(GcsOptions { access: Access::Issued, ..GcsOptions::default() });
    server.put_object("bucket", "k", "x");
    server
}

async fn user(server: &GcsServer, file: &str) -> Client {
    let credentials = user_account::Builder::new(serde_json::from_str(file).unwrap());
    Client::with(server, credentials.with_retry_policy(NeverRetry).build().unwrap()).await
}

#[tokio::test]
async fn a_user_who_has_logged_in_gets_a_token_once() {
    let server = start();
    let client = user(&server, &server.authorized_user()).await;
    assert_eq!(client.read("k").await.unwrap(), b"x");
    client.control.get_object().set_bucket(BUCKET).set_object("k").send().await.unwrap();
    assert_eq!(
        (server.count(Op::Token), server.count(Op::GetObject), server.count(Op::HeadObject)),
        (1, 1, 1)
    );
    assert!(server.requests()[1].bearer.as_ref().unwrap().starts_with("ya29."));
    server.expire_tokens();
    assert_eq!(status(client.read("k").await), 401);
    assert_eq!(status(Client::of(&server).await.read("k").await), 401);
}

#[tokio::test]
async fn a_grant_that_ran_out_is_refused_as_oauth_does() {
    let server = start();
    server.refuse_tokens(Some("invalid_grant"));
    let error = user(&server, &server.authorized_user()).await.read("k").await.unwrap_err();
    assert!(format!("{error:?}").contains("invalid_grant"), "{error:?}");
    server.refuse_tokens(None);
    let forged = server.authorized_user().replace("1//", "1//x");
    let error = user(&server, &forged).await.read("k").await.unwrap_err();
    assert!(format!("{error:?}").contains("invalid_grant"), "{error:?}");
    let fault = server.fault(Fault::on(Op::Token, Action::Refuse(Refusal::new(400, "unauthorized_client"))));
    let error = user(&server, &server.authorized_user()).await.read("k").await.unwrap_err();
    assert!(format!("{error:?}").contains("unauthorized_client"), "{error:?}");
    fault.remove();
    user(&server, &server.authorized_user()).await.read("k").await.unwrap();
    assert_eq!(server.count(Op::GetObject), 1);
}

#[tokio::test]
async fn a_service_account_signs_for_itself() {
    let server = start();
    let file: serde_json::Value = serde_json::from_str(&server.service_account()).unwrap();
    let with = async |file: &serde_json::Value| {
        let credentials = service_account::Builder::new(file.clone()).build().unwrap();
        Client::with(&server, credentials).await.read("k").await
    };
    assert_eq!(with(&file).await.unwrap(), b"x");
    assert_eq!(server.count(Op::Token), 0);
    let other: serde_json::Value = serde_json::from_str(&server.service_account()).unwrap();
    let mut forged = file.clone();
    forged["private_key"] = other["private_key"].clone();
    assert_eq!(status(with(&forged).await), 401);
    let mut unknown = file.clone();
    unknown["client_email"] = "nobody@project.iam.gserviceaccount.com".into();
    assert_eq!(status(with(&unknown).await), 401);
    // The statement that was signed for the service is none for the endpoint.
    let statement = server.requests()[0].bearer.clone().unwrap();
    let form =
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={statement}");
    let answer = send(
        &server,
        "POST /token",
        &[("content-type", "application/x-www-form-urlencoded")],
        form.as_bytes(),
    );
    assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_grant".into()));
}

#[test]
fn the_endpoint_grants_what_it_knows() {
    let server = start();
    let user: serde_json::Value = serde_json::from_str(&server.authorized_user()).unwrap();
    let form = |refresh_token: &str| {
        let encoded =
            percent_encoding::utf8_percent_encode(refresh_token, percent_encoding::NON_ALPHANUMERIC);
        let form = format!("grant_type=refresh_token&client_id=c&client_secret=s&refresh_token={encoded}");
        send(
            &server,
            "POST /token",
            &[("content-type", "application/x-www-form-urlencoded")],
            form.as_bytes(),
        )
    };
    let granted = form(user["refresh_token"].as_str().unwrap());
    assert_eq!((granted.status, &granted.json()["token_type"]), (200, &"Bearer".into()));
    let bearer = format!("Bearer {}", granted.json()["access_token"].as_str().unwrap());
    assert_eq!(send(&server, "GET /storage/v1/b/bucket/o/k", &[("authorization", &bearer)], b"").status, 200);
    assert_eq!(form("unknown").json()["error"], "invalid_grant");
    assert_eq!(form("").json()["error"], "invalid_request");
    let odd = send(
        &server,
        "POST /token",
        &[("content-type", "application/json")],
        br#"{"grant_type": "password"}"#,
    );
    assert_eq!(odd.json()["error"], "unsupported_grant_type");
}
