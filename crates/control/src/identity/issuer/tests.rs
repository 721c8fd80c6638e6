use rcgen::BasicConstraints;

use super::*;

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().unwrap())
}

struct Files {
    anchor: String,
    issuer: String,
    key: String,
}

fn files() -> Files {
    let (root_params, root_key) = authority("root");
    let root = root_params.self_signed(&root_key).unwrap();
    let (issuer_params, issuer_key) = authority("issuer");
    let root_signer = rcgen::Issuer::new(root_params, root_key);
    let issuer = issuer_params.signed_by(&issuer_key, &root_signer).unwrap();
    Files {
        anchor: root.pem(),
        issuer: issuer.pem(),
        key: issuer_key.serialize_pem(),
    }
}

fn parse(cert: &str, key: &str, anchors: &str) -> Result<Issuer, IssuerError> {
    Issuer::parse(
        cert.as_bytes(),
        key.as_bytes(),
        anchors.as_bytes(),
        Timestamp::now(),
    )
}

#[test]
fn a_leaf_lives_a_day_and_carries_one_name() {
    let f = files();
    let issuer = parse(&f.issuer, &f.key, &f.anchor).unwrap();
    let key = KeyPair::generate().unwrap();
    let now = Timestamp::now();
    let leaf = issuer.sign("sa.ns.example", &key, now).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf.certificate).unwrap();
    let life = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    assert_eq!(life, 24 * 3600 + 40);
    assert_eq!(leaf.intermediates.len(), 1);
    let san = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(san.value.general_names.len(), 1);
    assert!(!parsed.is_ca());
}

#[test]
fn two_leaves_for_one_key_have_different_serials() {
    let f = files();
    let issuer = parse(&f.issuer, &f.key, &f.anchor).unwrap();
    let key = KeyPair::generate().unwrap();
    let one = issuer.sign("a.b", &key, Timestamp::now()).unwrap();
    let two = issuer.sign("a.b", &key, Timestamp::now()).unwrap();
    assert_ne!(one.certificate, two.certificate);
}

#[test]
fn files_that_would_certify_nothing_are_refused() {
    let f = files();
    let other = files();
    let refused = |result: Result<Issuer, IssuerError>| result.err().unwrap();
    assert!(matches!(
        refused(parse(&f.issuer, &other.key, &f.anchor)),
        IssuerError::Mismatch
    ));
    assert!(matches!(
        refused(parse(&f.issuer, &f.key, &other.anchor)),
        IssuerError::Untrusted(_)
    ));
    assert!(matches!(
        refused(parse("", &f.key, &f.anchor)),
        IssuerError::Certificate(_)
    ));
    assert!(matches!(
        refused(parse(&f.issuer, "x", &f.anchor)),
        IssuerError::Key(_)
    ));
    assert!(matches!(
        refused(parse(&f.issuer, &f.key, "")),
        IssuerError::Anchors(_)
    ));
}

#[test]
fn an_expired_issuer_is_refused_by_name_of_its_dates() {
    let (root_params, root_key) = authority("root");
    let root = root_params.self_signed(&root_key).unwrap();
    let (mut params, key) = authority("issuer");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let signer = rcgen::Issuer::new(root_params, root_key);
    let issuer = params.signed_by(&key, &signer).unwrap();
    let error = parse(&issuer.pem(), &key.serialize_pem(), &root.pem())
        .err()
        .unwrap();
    assert!(matches!(error, IssuerError::Expired { .. }), "{error}");
}
