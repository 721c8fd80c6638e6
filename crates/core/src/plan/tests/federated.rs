//! Federated unions (conformance A1.5-A1.10, F4, F6, F7, F9).
use insta::assert_snapshot;

use super::{planned, replanned};

const TWO: &str = "
    ns ns1
    link other age=2
    link remote age=9
";

fn two(lines: &str) -> String {
    format!("{TWO}{lines}")
}

#[test]
fn the_first_member_creates_the_federated_service() {
    // A1.5
    assert_snapshot!(planned("
        ns ns1
        link remote
        export remote ns1/service-one @m/federated=member ports=port1:555,port2:666
    "), @r"
    create Service ns1/service-one-federated
      @m/mirrored-service=true
      #mc/remote-discovery=service-one@remote
      port1:555 port2:666
    remote:
      member ns1/service-one -> ns1/service-one-federated
    ");
}

#[test]
fn members_are_listed_in_order_whoever_came_first() {
    // A1.6, A1.7
    let one = two("export other ns1/s @m/federated=member");
    let both = two("
        export other ns1/s @m/federated=member
        export remote ns1/s @m/federated=member
    ");
    assert_snapshot!(replanned(&one, &both), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other,s@remote
      http:80
    other:
      member ns1/s -> ns1/s-federated
    remote:
      member ns1/s -> ns1/s-federated
    ");
    assert_snapshot!(replanned(&both, &one), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other
      http:80
    other:
      member ns1/s -> ns1/s-federated
    remote:
    ");
}

#[test]
fn a_local_member_alone_is_a_federated_service_too() {
    // A1.8
    assert_snapshot!(planned("
        ns ns1
        service ns1/service-one @m/federated=member
    "), @r"
    create Service ns1/service-one-federated
      @m/mirrored-service=true
      #mc/local-discovery=service-one
      http:80
    ");
}

#[test]
fn the_local_member_joins_and_leaves() {
    // A1.9, A1.10
    let remote = two("export other ns1/s @m/federated=member");
    let both = two("
        export other ns1/s @m/federated=member
        service ns1/s @m/federated=member
    ");
    assert_snapshot!(replanned(&remote, &both), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/local-discovery=s #mc/remote-discovery=s@other
      http:80
    other:
      member ns1/s -> ns1/s-federated
    remote:
    ");
    assert_snapshot!(replanned(&both, &remote), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other
      http:80
    other:
      member ns1/s -> ns1/s-federated
    remote:
    ");
}

#[test]
fn the_last_member_takes_the_federated_service_along() {
    // F6
    assert_snapshot!(replanned(&two("export other ns1/s @m/federated=member"), TWO), @r"
    delete Service ns1/s-federated (uid-of-ns1/s-federated)
    other:
    remote:
    ");
}

#[test]
fn when_the_last_remote_leaves_its_key_goes() {
    // F7
    assert_snapshot!(replanned(
        &two("
            export other ns1/s @m/federated=member
            service ns1/s @m/federated=member
        "),
        &two("service ns1/s @m/federated=member"),
    ), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/local-discovery=s
      http:80
    other:
    remote:
    ");
}

#[test]
fn the_oldest_link_decides_and_the_local_member_before_it() {
    let remote = two("
        export other ns1/s @m/federated=member @of=other
        export remote ns1/s @m/federated=member @of=remote
    ");
    assert_snapshot!(planned(&remote), @r"
    create Service ns1/s-federated
      @m/mirrored-service=true @of=remote
      #mc/remote-discovery=s@other,s@remote
      http:80
    other:
      member ns1/s -> ns1/s-federated
    remote:
      member ns1/s -> ns1/s-federated
    ");
    let local = format!(
        "{remote}\nservice ns1/s @m/federated=member @of=here @x/hidden=1\nexclude-local-labels x/*"
    );
    assert_snapshot!(replanned(&remote, &local), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true @of=here
      #mc/local-discovery=s #mc/remote-discovery=s@other,s@remote
      http:80
    other:
      member ns1/s -> ns1/s-federated
    remote:
      member ns1/s -> ns1/s-federated
    ");
}

#[test]
fn ports_that_differ_are_a_condition_on_who_does_not_decide() {
    // F9
    assert_snapshot!(planned(&two("
        export other ns1/s @m/federated=member ports=http:80,grpc:90
        export remote ns1/s @m/federated=member ports=web:80,metrics:91
    ")), @r#"
    create Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@other,s@remote
      web:80 metrics:91
    other:
      member ns1/s -> ns1/s-federated PortsAgree=False (PortConflict: port 80/TCP is named "http", not named "web", port 91/TCP is missing, port 90/TCP is left out)
    remote:
      member ns1/s -> ns1/s-federated
    "#);
}

#[test]
fn two_links_to_one_cluster_both_join() {
    assert_snapshot!(planned("
        ns ns1
        link east age=9 uid=E
        link east-gw age=2 uid=E
        export east ns1/s @m/federated=member
        export east-gw ns1/s @m/federated=member
    "), @r"
    create Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@east,s@east-gw
      http:80
    east:
      member ns1/s -> ns1/s-federated
    east-gw:
      member ns1/s -> ns1/s-federated
    ");
}

#[test]
fn a_link_to_this_very_cluster_joins_as_any_other() {
    assert_snapshot!(planned("
        uid W
        ns ns1
        link loop uid=W
        service ns1/s @m/federated=member
        export loop ns1/s @m/federated=member
    "), @r"
    create Service ns1/s-federated
      @m/mirrored-service=true
      #mc/local-discovery=s #mc/remote-discovery=s@loop
      http:80
    loop:
      member ns1/s -> ns1/s-federated
    ");
}

#[test]
fn a_silent_start_keeps_memberships_while_others_come_and_go() {
    // Its cluster is unknown, so what it contributed stays, beside what its twin contributes.
    let before = "
        ns ns1
        link a age=9 uid=A
        link b age=5 uid=B
        link a-again age=1 uid=A
        export a ns1/s @m/federated=member @of=a
        export b ns1/s @m/federated=member @of=b
        export a-again ns1/s @m/federated=member
    ";
    let now = "
        ns ns1
        link a age=9 uid=A unknown
        link b age=5 uid=B
        link a-again age=1 uid=A
        export a-again ns1/s @m/federated=member
    ";
    assert_snapshot!(replanned(before, now), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true @of=a
      #mc/remote-discovery=s@a,s@a-again
      http:80
    a: Synced=False (NeverSynced: not yet)
      member ns1/s -> ns1/s-federated Mirrored=True (Mirrored: kept as it was)
    a-again:
      member ns1/s -> ns1/s-federated
    b:
    ");
}

#[test]
fn headless_and_portless_services_cannot_join() {
    // F29's neighbour: a true condition.
    assert_snapshot!(planned("
        ns ns1
        link remote
        export remote ns1/headless @m/federated=member headless
        export remote ns1/portless @m/federated=member ports=none
        export remote ns1/named @m/federated=member external
        service ns1/mine @m/federated=member headless
    "), @r"
    remote:
      member ns1/headless -> none Mirrored=False (InvalidService: Headless service cannot join federated service)
      member ns1/named -> none Mirrored=False (InvalidService: ExternalName service has no endpoints)
      member ns1/portless -> none Mirrored=False (InvalidService: object spec has no exposed ports)
    ! Link mc/remote: InvalidService: Skipped mirroring service: ExternalName service has no endpoints (ns1/named)
    ! Link mc/remote: InvalidService: Skipped mirroring service: Headless service cannot join federated service (ns1/headless)
    ! Link mc/remote: InvalidService: Skipped mirroring service: object spec has no exposed ports (ns1/portless)
    ! Service ns1/mine: InvalidService: Skipped joining federated service: Headless service cannot join federated service
    ");
}

#[test]
fn a_users_service_of_the_federated_name_is_never_adopted() {
    // F4: neither rewritten, nor deleted when the last member leaves.
    let taken = "
        ns ns1
        link remote
        service ns1/s-federated
        service ns1/s @m/federated=member
    ";
    let member = format!("{taken}\nexport remote ns1/s @m/federated=member");
    assert_snapshot!(planned(&member), @r"
    remote:
      member ns1/s -> none Mirrored=False (NameConflict: Service ns1/s-federated exists and is not ours)
    ! Link mc/remote: NameConflict: Skipped mirroring service: Service ns1/s-federated exists and is not ours (ns1/s)
    ! Service ns1/s: NameConflict: Skipped joining federated service: Service ns1/s-federated exists and is not ours
    ");
    assert_snapshot!(replanned(&member, "ns ns1\nlink remote\nservice ns1/s-federated"), @"remote:");
}

#[test]
fn the_local_member_leaves_while_the_others_are_silent() {
    let remote = "ns ns1\nlink a uid=A\nexport a ns1/s @m/federated=member";
    let both = format!("{remote}\nservice ns1/s @m/federated=member");
    assert_snapshot!(replanned(&both, "ns ns1\nlink a uid=A unknown"), @r"
    change Service ns1/s-federated
      @m/mirrored-service=true
      #mc/remote-discovery=s@a
      http:80
    a: Synced=False (NeverSynced: not yet)
      member ns1/s -> ns1/s-federated Mirrored=True (Mirrored: kept as it was)
    ");
}
