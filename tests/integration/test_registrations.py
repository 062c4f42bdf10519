"""Registrations, users and tags over the API: shown, listed, changed, barred and forgotten."""

from harness import rpc
from harness.waiting import wait_until


def show(app, registration):
    answer = app.call("GET", f"registrations/{registration}", role="viewer")
    assert answer.status == 200, answer
    return answer.json


def patch(app, registration, body, status=200):
    answer = app.call("PATCH", f"registrations/{registration}", body, role="admin")
    assert answer.status == status, answer
    return answer.json


def pages(app, path, key, **options):
    """All of a list, page by page."""
    found, cursor = [], ""
    while True:
        mark = "&" if "?" in path else "?"
        answer = app.call("GET", path + (f"{mark}cursor={cursor}" if cursor else ""), role="viewer", **options)
        assert answer.status == 200, answer
        found.append(answer.json[key])
        cursor = answer.json["next_cursor"]
        if cursor is None:
            return found


def listed(app, query=""):
    """Ids of the registrations in the list: it follows some seconds behind."""
    return [row["registration_id"] for page in pages(app, f"registrations?limit=1000{query}", "registrations")
            for row in page]


def reached(cluster, app, audience):
    """How many sessions of the first room an audience matches: what the room knows of them."""
    return rpc.call(cluster.room, "CountSessions", {"app": app.id, "audience": audience})["matched"]


def test_a_registration_is_shown_as_its_client_attached(cluster, app):
    assert app.call("GET", "registrations/reg-1", role="viewer").reason == "UNREGISTERED"
    phone = app.registered("reg-1", platform="android", user="ana", tags=["vip", "beijing"])
    shown = show(app, "reg-1")
    assert shown.pop("first_seen_at") <= shown.pop("last_seen_at")
    assert shown == {"registration_id": "reg-1", "registered": True, "online": True, "node": "room-1",
                     "user_id": "ana", "tags": ["beijing", "vip"], "platform": "android",
                     "sdk_version": "test/1", "bar": None}
    phone.close()
    wait_until(lambda: show(app, "reg-1")["online"] is False)
    assert show(app, "reg-1")["node"] is None


def test_many_are_asked_about_at_once_and_only_for_what_is_wanted(cluster, app):
    app.registered("reg-1", tags=["vip"])
    names = ["reg-1"] + [f"never-{n}" for n in range(999)]
    rows = app.call("POST", "registrations/query", {"registration_ids": names, "fields": ["tags", "online"]},
                    role="viewer").json["registrations"]
    assert [row["registration_id"] for row in rows] == names
    assert rows[0] == {"registration_id": "reg-1", "registered": True, "online": True, "tags": ["vip"]}
    assert rows[1] == {"registration_id": "never-0", "registered": False, "online": False}
    answer = app.call("POST", "registrations/query", {"registration_ids": names + ["one-more"]}, role="viewer")
    assert (answer.status, answer.reason) == (400, "TOO_MANY_TARGETS")


def test_a_change_reaches_the_connected_session_at_once(cluster, app):
    app.registered("reg-1", tags=["trial"])
    assert reached(cluster, app, {"tag": ["vip"]}) == 0
    changed = patch(app, "reg-1", {"tags": {"add": ["vip"], "remove": ["trial"]}, "user_id": "u1"})
    assert (changed["changed"], changed["session"], changed["tags"], changed["user_id"]) == (
        True, "updated", ["vip"], "u1")
    assert reached(cluster, app, {"tag": ["vip"]}) == 1 and reached(cluster, app, {"tag": ["trial"]}) == 0
    connection, = app.call("GET", "connections?registration_id=reg-1", role="viewer").json["connections"]
    assert connection["user_id"] == "u1"
    again = patch(app, "reg-1", {"tags": {"add": ["vip"]}})
    assert (again["changed"], again["session"]) == (False, "updated")
    assert patch(app, "reg-1", {"tags": {"set": ["a", "b"]}, "user_id": None})["tags"] == ["a", "b"]
    assert show(app, "reg-1")["user_id"] is None
    assert patch(app, "reg-1", {"tags": {"set": []}})["tags"] == []


def test_who_is_away_is_changed_for_the_next_login(cluster, app):
    app.registered("reg-1").close()
    wait_until(lambda: show(app, "reg-1")["online"] is False)
    assert patch(app, "reg-1", {"tags": {"add": ["vip"]}})["session"] == "none"
    app.registered("reg-1")
    wait_until(lambda: reached(cluster, app, {"tag": ["vip"]}) == 1)


def test_a_registration_has_100_tags_at_most(cluster, app):
    app.registered("reg-1")
    patch(app, "reg-1", {"tags": {"set": [f"tag-{n}" for n in range(100)]}})
    assert patch(app, "reg-1", {"tags": {"add": ["one-more"]}}, 409)["error"]["reason"] == "TOO_MANY_TAGS"
    assert len(show(app, "reg-1")["tags"]) == 100


def test_a_user_is_shown_with_all_registrations_as_of_now(cluster, app):
    assert app.call("GET", "users/ana", role="viewer").reason == "USER_UNKNOWN"
    phones = [app.registered(name, user="ana") for name in ("tablet", "phone")]
    user = app.call("GET", "users/ana", role="viewer").json
    assert user["online"] is True and user["complete"] is True
    assert [row["registration_id"] for row in user["registrations"]] == ["phone", "tablet"]
    patch(app, "tablet", {"user_id": "ben"})
    for phone in phones:
        phone.close()
    wait_until(lambda: app.call("GET", "users/ana", role="viewer").json["online"] is False)
    for name, owner in (("phone", "ana"), ("tablet", "ben")):
        rows = app.call("GET", f"users/{owner}", role="viewer").json["registrations"]
        assert [row["registration_id"] for row in rows] == [name]


def test_registrations_are_listed_by_user_tag_platform_and_presence(cluster, app):
    app.register(*[f"reg-{n:02}" for n in range(25)], tags=["vip"], platform="ios")
    app.registered("here", platform="android", user="ana")
    everybody = sorted([f"reg-{n:02}" for n in range(25)] + ["here"])
    wait_until(lambda: listed(app) == everybody, what="the list has everybody")
    assert [len(page) for page in pages(app, "registrations?limit=10", "registrations")] == [10, 10, 6]
    assert listed(app, "&user_id=ana") == ["here"]
    assert listed(app, "&platform=ios&tag=vip") == everybody[1:]
    assert listed(app, "&tag=nothing") == []
    assert listed(app, "&online=true") == ["here"]
    assert listed(app, "&online=false") == everybody[1:]
    cursor = app.call("GET", "registrations?limit=1", role="viewer").json["next_cursor"]
    answer = app.call("GET", f"tags?cursor={cursor}", role="viewer")
    assert (answer.status, answer.reason) == (400, "BAD_VALUE"), "a cursor of another list"


def test_a_tag_is_put_on_many_counted_listed_and_deleted(cluster, app):
    names = [f"reg-{n}" for n in range(600)]
    app.register(*names)
    answer = app.call("POST", "tags/vip/registrations", {"add": names + ["never"], "remove": ["nobody"]},
                      role="admin", timeout=60).json
    assert (answer["added"], answer["removed"]) == (600, 0)
    assert answer["errors"] == [{"registration_id": "never", "reason": "UNREGISTERED"},
                                {"registration_id": "nobody", "reason": "UNREGISTERED"}]
    answer = app.call("POST", "tags/vip/registrations", {"remove": names[:100]}, role="admin", timeout=60).json
    assert (answer["added"], answer["removed"], answer["errors"]) == (0, 100, [])
    app.call("POST", "tags/other/registrations", {"add": names[:3]}, role="admin")
    wait_until(lambda: app.call("GET", "tags/vip", role="viewer").json["registrations"] == 500)
    wait_until(lambda: pages(app, "tags?limit=1", "tags") == [[{"tag": "other", "registrations": 3}],
                                                              [{"tag": "vip", "registrations": 500}]])
    assert [page[0]["tag"] for page in pages(app, "tags?prefix=v", "tags")] == ["vip"]
    deleted = app.call("DELETE", "tags/vip", role="admin", timeout=60).json
    assert (deleted["removed"], deleted["failed"], deleted["next_cursor"]) == (500, 0, None)
    assert show(app, names[300])["tags"] == []
    wait_until(lambda: app.call("GET", "tags/vip", role="viewer").json["registrations"] == 0)


def test_a_forgotten_registration_is_ended_and_new_when_it_comes_back(cluster, app):
    phone = app.registered("reg-1", tags=["vip"])
    first = show(app, "reg-1")["first_seen_at"]
    assert app.call("DELETE", "registrations/reg-1", role="admin").json == {"deleted": True, "connection": "kicked"}
    assert phone.wait_closed().code == 4007
    assert app.call("GET", "registrations/reg-1", role="viewer").reason == "UNREGISTERED"
    assert app.call("DELETE", "registrations/reg-1", role="admin").reason == "UNREGISTERED"
    app.registered("reg-1")
    shown = show(app, "reg-1")
    assert shown["tags"] == [] and shown["first_seen_at"] > first


def test_a_bar_ends_the_connection_and_refuses_logins_until_it_is_lifted(cluster, app):
    phone = app.registered("reg-1")
    barred = app.call("POST", "registrations/reg-1/bar", {"seconds": 3600, "reason": "spam"}, role="admin").json
    assert barred["connection"] == "kicked" and barred["bar"]["reason"] == "spam"
    bye = phone.wait_closed()
    assert (bye.code, bye.reason) == (4005, b"spam")
    assert show(app, "reg-1")["bar"] == barred["bar"]
    again = cluster.phone()
    again.login((app, "reg-1"))
    bye = again.wait_closed()
    assert (bye.code, bye.reason) == (4005, b"spam")
    cleared = app.call("DELETE", "registrations/reg-1/bar", role="admin").json
    assert cleared == {"registration_id": "reg-1", "bar": None}
    back = cluster.phone()
    back.login((app, "reg-1"))
    assert app.send("hello", "reg-1").status == 202
    assert back.next_push().payload == b'"hello"'


def test_a_bar_is_over_when_its_time_is(cluster, app):
    app.registered("reg-1").close()
    app.call("POST", "registrations/reg-1/bar", {"seconds": 1}, role="admin")
    wait_until(lambda: show(app, "reg-1")["bar"] is None, 10)
    back = cluster.phone()
    back.login((app, "reg-1"))
    app.send("hello", "reg-1")
    assert back.next_push().payload == b'"hello"'


BAD = [
    ("PATCH", "registrations/reg-1", {"colour": 1}, "UNKNOWN_FIELD"),
    ("PATCH", "registrations/reg-1", {"user_id": 7}, "BAD_VALUE"),
    ("PATCH", "registrations/reg-1", {"user_id": "u" * 129}, "BAD_VALUE"),
    ("PATCH", "registrations/reg-1", {"user_id": ""}, "BAD_VALUE"),
    ("PATCH", "registrations/reg-1", {"tags": ["vip"]}, "BAD_VALUE"),
    ("PATCH", "registrations/reg-1", {"tags": {}}, "BAD_VALUE"),
    ("PATCH", "registrations/reg-1", {"tags": {"put": ["vip"]}}, "UNKNOWN_FIELD"),
    ("PATCH", "registrations/reg-1", {"tags": {"add": ["t" * 41]}}, "BAD_VALUE"),
    ("PATCH", "registrations/reg-1", {"tags": {"add": ["a\nb"]}}, "BAD_VALUE"),
    ("PATCH", "registrations/reg-1", {"tags": {"add": [f"t{n}" for n in range(101)]}}, "TOO_MANY_TARGETS"),
    ("PATCH", "registrations/reg-1", {"tags": {"set": ["a"], "remove": ["b"]}}, "CONFLICTING_FIELDS"),
    ("PATCH", "registrations/reg-1", {"tags": {"add": ["a"], "remove": ["b", "a"]}}, "CONFLICTING_FIELDS"),
    ("PATCH", "registrations/" + "r" * 65, {"user_id": None}, "BAD_VALUE"),
    ("GET", "registrations/" + "r" * 65, None, "BAD_VALUE"),
    ("GET", "registrations/reg-1?fields=tags", None, "UNKNOWN_FIELD"),
    ("GET", "registrations?user_id=" + "u" * 129, None, "BAD_VALUE"),
    ("GET", "registrations?user_id=", None, "BAD_VALUE"),
    ("GET", "registrations?tag=%zz", None, "BAD_VALUE"),
    ("GET", "registrations?limit=1001", None, "BAD_VALUE"),
    ("GET", "registrations?limit=-1", None, "BAD_VALUE"),
    ("GET", "registrations?tag=a&tag=b", None, "CONFLICTING_FIELDS"),
    ("GET", "users/" + "u" * 129, None, "BAD_VALUE"),
    ("GET", "tags/" + "t" * 41, None, "BAD_VALUE"),
    ("GET", "tags?prefix=" + "t" * 41, None, "BAD_VALUE"),
    ("POST", "tags/vip/registrations", {"add": ["a"], "remove": ["a"]}, "CONFLICTING_FIELDS"),
    ("POST", "tags/vip/registrations", {"add": []}, "MISSING_FIELD"),
    ("POST", "tags/vip/registrations", {"add": "reg-1"}, "BAD_VALUE"),
    ("POST", "tags/vip/registrations", {"add": [1]}, "BAD_VALUE"),
    ("POST", "tags/vip/registrations", {"add": ["r"] * 1001}, "TOO_MANY_TARGETS"),
    ("POST", "registrations/reg-1/bar", {"seconds": 0}, "BAD_VALUE"),
    ("POST", "registrations/reg-1/bar", {"seconds": 2592001}, "BAD_VALUE"),
    ("POST", "registrations/reg-1/bar", {"seconds": "1h"}, "BAD_VALUE"),
    ("POST", "registrations/reg-1/bar", {"seconds": 1, "reason": "r" * 124}, "BAD_VALUE"),
    ("POST", "registrations/reg-1/bar", {}, "MISSING_FIELD"),
    ("POST", "registrations/query", {"registration_ids": ["a"], "fields": ["colour"]}, "BAD_VALUE"),
    ("POST", "registrations/query", {"registration_ids": ["a"], "fields": []}, "BAD_VALUE"),
]


def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(cluster, app):
    app.registered("reg-1", tags=["vip"])
    before = show(app, "reg-1")
    for method, path, body, reason in BAD:
        answer = app.call(method, path, body, role="admin")
        assert (answer.status, answer.reason) == (400, reason), f"{method} {path} {body}: {answer}"
    assert show(app, "reg-1") == before


def test_a_store_that_is_away_is_said_and_nothing_is_made_up(new_cluster):
    cluster, app = new_cluster, new_cluster.add_app(7)
    cluster.start({"center": {"store__try_timeout": "500ms", "store__timeout": "500ms", "query__timeout": "500ms"}})
    app.registered("reg-1")
    cluster.saver.pause()
    for method, path, body in (("GET", "registrations/reg-1", None), ("GET", "users/ana", None),
                               ("GET", "tags", None), ("PATCH", "registrations/reg-1", {"user_id": "u"}),
                               ("POST", "tags/vip/registrations", {"add": ["reg-1"]}),
                               ("DELETE", "registrations/reg-1", None)):
        answer = app.call(method, path, body, role="admin")
        assert (answer.status, answer.reason) == (503, "STORE_UNAVAILABLE"), f"{method} {path}: {answer}"
        assert int(answer.headers["Retry-After"]) >= 1
    row, = app.call("POST", "registrations/query", {"registration_ids": ["reg-1"], "fields": ["online"]},
                    role="viewer").json["registrations"]
    assert row == {"registration_id": "reg-1", "online": True}
    cluster.saver.resume()


def test_a_room_that_does_not_answer_leaves_open_whether_the_session_knows(cluster, app):
    app.registered("reg-1")
    cluster.room.pause()
    changed = patch(app, "reg-1", {"tags": {"add": ["vip"]}})
    assert (changed["changed"], changed["session"], changed["tags"]) == (True, "unknown", ["vip"])
    cluster.room.resume()
    assert patch(app, "reg-1", {"tags": {"add": ["vip"]}})["session"] == "updated"
    assert reached(cluster, app, {"tag": ["vip"]}) == 1


def test_many_processes_answer_as_one_and_go_on_when_one_is_gone(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(saver=2, register=2, room=2, center=2, coordinator=2)
    phones = [app.registered(f"reg-{number}", room=number % 2, user="ana") for number in range(10)]
    names = sorted(f"reg-{number}" for number in range(10))
    app.register(*[f"away-{number}" for number in range(200)])
    away = [f"away-{number}" for number in range(200)]

    def ask(center):
        answer = app.call("POST", "registrations/query", {"registration_ids": names + away}, role="viewer",
                          center=center).json
        rows = answer["registrations"]
        return answer["complete"] and all(row["registered"] for row in rows) and \
            [row["registration_id"] for row in rows if row["online"]] == names
    assert ask(0) and ask(1)
    answer = app.call("POST", "tags/vip/registrations", {"add": names + away}, role="admin", timeout=60).json
    assert (answer["added"], answer["errors"]) == (210, [])
    assert sum(rpc.call(room, "CountSessions", {"app": 7, "audience": {"tag": ["vip"]}})["matched"]
               for room in new_cluster.rooms) == 10

    for process in (new_cluster.savers[0], new_cluster.registers[0], new_cluster.coordinators[0],
                    new_cluster.centers[0]):
        process.kill()
    wait_until(lambda: ask(1), 60, "the others answer for all")
    user = app.call("GET", "users/ana", role="viewer", center=1).json
    assert [row["tags"] for row in user["registrations"]] == [["vip"]] * 10

    def all_gone():
        answer = app.call("POST", "connections/disconnect", {"user_id": ["ana"], "bar_s": 60}, role="admin", center=1)
        return answer.status == 200 and all(row["barred"] and row["result"] != "failed"
                                            for row in answer.json["results"])
    wait_until(all_gone, 30)
    for phone in phones:
        assert phone.wait_closed().code == 4005
