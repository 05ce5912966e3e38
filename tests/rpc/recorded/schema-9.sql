BEGIN TRANSACTION;
CREATE TABLE audit (
            revision BIGINT PRIMARY KEY,
            at BIGINT NOT NULL,
            principal TEXT NOT NULL,
            method TEXT NOT NULL,
            subject TEXT NOT NULL
        );
INSERT INTO "audit" VALUES(1,1796040890513984,'ipv4:127.0.0.1','/tendhost.v1.HostService/RegisterHost','web1');
INSERT INTO "audit" VALUES(2,1796040890541378,'ipv4:127.0.0.1','/tendhost.v1.HostService/RegisterHost','web2');
INSERT INTO "audit" VALUES(3,1796040890579286,'ipv4:127.0.0.1','/tendhost.v1.HostService/RegisterHost','db1');
INSERT INTO "audit" VALUES(4,1796040890595816,'ipv4:127.0.0.1','/tendhost.v1.PolicyService/SetPolicy','group staging');
INSERT INTO "audit" VALUES(5,1796040890603760,'ipv4:127.0.0.1','/tendhost.v1.SelectionService/CreateSelection','webs');
INSERT INTO "audit" VALUES(6,1796040890649003,'ipv4:127.0.0.1','/tendhost.v1.ScheduleService/CreateSchedule','yearly');
INSERT INTO "audit" VALUES(7,1796040890661234,'ipv4:127.0.0.1','/tendhost.v1.ScheduleService/PauseSchedule','yearly');
INSERT INTO "audit" VALUES(9,1796040890667695,'ipv4:127.0.0.1','/tendhost.v1.HostService/StartUpdate','db1');
INSERT INTO "audit" VALUES(11,1796040890668046,'ipv4:127.0.0.1','/tendhost.v1.HostService/StartQuery','web2');
INSERT INTO "audit" VALUES(13,1796040890670084,'ipv4:127.0.0.1','/tendhost.v1.HostService/StartUpdate','web1');
INSERT INTO "audit" VALUES(43,1796040893707454,'ipv4:127.0.0.1','/tendhost.v1.RolloutService/StartRollout','01a22c61-250b-7084-bc6d-306dc7cbf688');
CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision BIGINT NOT NULL);
INSERT INTO "counter" VALUES(1,85);
CREATE TABLE events (
            revision BIGINT PRIMARY KEY,
            at BIGINT NOT NULL,
            kind TEXT NOT NULL,
            host TEXT NOT NULL,
            operation TEXT NOT NULL,
            rollout TEXT NOT NULL,
            body TEXT NOT NULL
        );
INSERT INTO "events" VALUES(1,1796040890513984,'host_registered','web1','','','{"by":"ipv4:127.0.0.1","host_key_fingerprint":"SHA256:sUvXZfJ2sFnM8IS7f1IheWtsn+jdcHQyWNLw5OGRcOs"}');
INSERT INTO "events" VALUES(2,1796040890541378,'host_registered','web2','','','{"by":"ipv4:127.0.0.1","host_key_fingerprint":"SHA256:0uLfo20ZbpZnLE0uEYQMNuUnT3hlHBjt0Lbmmzgjsvw"}');
INSERT INTO "events" VALUES(3,1796040890579286,'host_registered','db1','','','{"by":"ipv4:127.0.0.1","host_key_fingerprint":"SHA256:5ZEbl7uMj7ZPl9yS+voosKmZ5YPbKSqvXA8iu6jC5Kw"}');
INSERT INTO "events" VALUES(4,1796040890595816,'policy_changed','','','','{"group":"staging","by":"ipv4:127.0.0.1","deleted":false,"changes":[{"path":"hooks.post","old":null,"new":null}]}');
INSERT INTO "events" VALUES(5,1796040890603760,'selection_changed','','','','{"selection":"webs","change":"created","message":"by ipv4:127.0.0.1","by":"ipv4:127.0.0.1","changes":[]}');
INSERT INTO "events" VALUES(6,1796040890649003,'schedule_changed','','','','{"schedule":"yearly","change":"created","next_at":"2027-01-01T02:00:00Z","message":"by ipv4:127.0.0.1","by":"ipv4:127.0.0.1","changes":[]}');
INSERT INTO "events" VALUES(7,1796040890661234,'schedule_changed','','','','{"schedule":"yearly","change":"paused","next_at":null,"message":"by ipv4:127.0.0.1","by":"ipv4:127.0.0.1","changes":[]}');
INSERT INTO "events" VALUES(8,1796040890667695,'state_changed','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"origin":"idle","to":"querying","cause":"query"}');
INSERT INTO "events" VALUES(9,1796040890667695,'operation_changed','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"kind":"update","status":"running","step":"connect","message":""}');
INSERT INTO "events" VALUES(10,1796040890668046,'state_changed','web2','01a22c61-192b-79cc-a8e4-c63709912331','','{"origin":"idle","to":"querying","cause":"query"}');
INSERT INTO "events" VALUES(11,1796040890668046,'operation_changed','web2','01a22c61-192b-79cc-a8e4-c63709912331','','{"kind":"query","status":"running","step":"connect","message":""}');
INSERT INTO "events" VALUES(12,1796040890670084,'state_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"origin":"idle","to":"querying","cause":"query"}');
INSERT INTO "events" VALUES(13,1796040890670084,'operation_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"kind":"update","status":"running","step":"connect","message":""}');
INSERT INTO "events" VALUES(14,1796040890823815,'host_connected','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{}');
INSERT INTO "events" VALUES(15,1796040890823815,'operation_changed','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"kind":"update","status":"running","step":"preflight","message":""}');
INSERT INTO "events" VALUES(16,1796040890886777,'host_connected','web1','01a22c61-192e-786e-b1df-669ba0997553','','{}');
INSERT INTO "events" VALUES(17,1796040890886777,'operation_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"kind":"update","status":"running","step":"preflight","message":""}');
INSERT INTO "events" VALUES(18,1796040890826041,'host_connected','web2','01a22c61-192b-79cc-a8e4-c63709912331','','{}');
INSERT INTO "events" VALUES(19,1796040891616787,'operation_changed','web2','01a22c61-192b-79cc-a8e4-c63709912331','','{"kind":"query","status":"succeeded","step":null,"message":""}');
INSERT INTO "events" VALUES(20,1796040891616787,'host_disconnected','web2','01a22c61-192b-79cc-a8e4-c63709912331','','{"reason":"the operation ended"}');
INSERT INTO "events" VALUES(21,1796040891616787,'state_changed','web2','01a22c61-192b-79cc-a8e4-c63709912331','','{"origin":"querying","to":"pending_updates","cause":"updates_pending"}');
INSERT INTO "events" VALUES(22,1796040891481579,'operation_changed','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"kind":"update","status":"running","step":"list","message":""}');
INSERT INTO "events" VALUES(23,1796040891322515,'operation_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"kind":"update","status":"running","step":"list","message":""}');
INSERT INTO "events" VALUES(24,1796040891998225,'duplicates_changed','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"duplicate_of":[{"host":"web2","host_key":false,"address":false,"machine_id":true}]}');
INSERT INTO "events" VALUES(25,1796040891998225,'operation_changed','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"kind":"update","status":"succeeded","step":null,"message":""}');
INSERT INTO "events" VALUES(26,1796040891998225,'host_disconnected','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"reason":"the operation ended"}');
INSERT INTO "events" VALUES(27,1796040891998225,'state_changed','db1','01a22c61-192b-79cc-a8e4-c63628212cd8','','{"origin":"querying","to":"idle","cause":"nothing_pending"}');
INSERT INTO "events" VALUES(28,1796040892102819,'duplicates_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"duplicate_of":[{"host":"db1","host_key":false,"address":false,"machine_id":true},{"host":"web2","host_key":false,"address":false,"machine_id":true}]}');
INSERT INTO "events" VALUES(29,1796040892102819,'state_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"origin":"querying","to":"pending_updates","cause":"updates_pending"}');
INSERT INTO "events" VALUES(30,1796040892102819,'state_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"origin":"pending_updates","to":"updating","cause":"update"}');
INSERT INTO "events" VALUES(31,1796040892102819,'operation_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"kind":"update","status":"running","step":"apply","message":""}');
INSERT INTO "events" VALUES(32,1796040892956897,'update_progress','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"package":"tb-simple","percent":25.0,"phase":"unpack"}');
INSERT INTO "events" VALUES(33,1796040892956897,'update_progress','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"package":"tb-simple","percent":75.0,"phase":"configure"}');
INSERT INTO "events" VALUES(34,1796040892956897,'update_progress','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"package":"tb-secure","percent":25.0,"phase":"unpack"}');
INSERT INTO "events" VALUES(35,1796040892956897,'update_progress','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"package":"tb-secure","percent":75.0,"phase":"configure"}');
INSERT INTO "events" VALUES(36,1796040892957113,'operation_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"kind":"update","status":"running","step":"reboot_check","message":""}');
INSERT INTO "events" VALUES(37,1796040893552683,'state_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"origin":"updating","to":"verifying","cause":"verify"}');
INSERT INTO "events" VALUES(38,1796040893552683,'operation_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"kind":"update","status":"running","step":"verify","message":""}');
INSERT INTO "events" VALUES(39,1796040893677908,'update_completed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"result":{"success":true,"changes":[{"name":"tb-secure","from_version":"1.0-1","to_version":"1.0-1+deb12u1"},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1"}],"planned":[{"name":"tb-secure","from_version":"1.0-1","to_version":"1.0-1+deb12u1","architecture":"all","origin":"Debian-Security:12/stable-security","security":true,"withheld":"no","advisories":[],"replaces":[]},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1","architecture":"all","origin":"Debian:12/stable","security":false,"withheld":"no","advisories":[],"replaces":[]}],"planned_removals":[],"undone":[],"planned_unneeded":[],"download_bytes":0,"differences":[],"snapshot":"","projects":[],"restarted":[],"rolled_back":false,"kept_conffiles":[],"saved_conffiles":[],"reboot_required":"not_needed","rebooted":false}}');
INSERT INTO "events" VALUES(40,1796040893677908,'operation_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"kind":"update","status":"succeeded","step":null,"message":""}');
INSERT INTO "events" VALUES(41,1796040893677908,'host_disconnected','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"reason":"the operation ended"}');
INSERT INTO "events" VALUES(42,1796040893677908,'state_changed','web1','01a22c61-192e-786e-b1df-669ba0997553','','{"origin":"verifying","to":"idle","cause":"nothing_pending"}');
INSERT INTO "events" VALUES(43,1796040893707454,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":2,"waiting":0,"in_progress":0,"completed":0,"failed":0,"rolled_back":0,"skipped":0},"wave":0,"waves":2,"message":"","held_up":""}');
INSERT INTO "events" VALUES(44,1796040893720591,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":2,"waiting":0,"in_progress":0,"completed":0,"failed":0,"rolled_back":0,"skipped":0},"wave":0,"waves":2,"message":"wave 1 begins","held_up":""}');
INSERT INTO "events" VALUES(45,1796040893734314,'state_changed','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"idle","to":"querying","cause":"query"}');
INSERT INTO "events" VALUES(46,1796040893734314,'operation_changed','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"connect","message":""}');
INSERT INTO "events" VALUES(47,1796040893734857,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":1,"waiting":0,"in_progress":1,"completed":0,"failed":0,"rolled_back":0,"skipped":0},"wave":0,"waves":2,"message":"","held_up":""}');
INSERT INTO "events" VALUES(48,1796040893760758,'host_connected','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{}');
INSERT INTO "events" VALUES(49,1796040893760758,'operation_changed','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"preflight","message":""}');
INSERT INTO "events" VALUES(50,1796040894044940,'operation_changed','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"list","message":""}');
INSERT INTO "events" VALUES(51,1796040894469943,'operation_changed','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"succeeded","step":null,"message":""}');
INSERT INTO "events" VALUES(52,1796040894469943,'host_disconnected','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{"reason":"the operation ended"}');
INSERT INTO "events" VALUES(53,1796040894469943,'state_changed','web1','01a22c61-2526-77fe-9738-c75159e95d3a','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"querying","to":"idle","cause":"nothing_pending"}');
INSERT INTO "events" VALUES(54,1796040894475616,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":1,"waiting":0,"in_progress":0,"completed":1,"failed":0,"rolled_back":0,"skipped":0},"wave":0,"waves":2,"message":"","held_up":""}');
INSERT INTO "events" VALUES(55,1796040894486631,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":1,"waiting":0,"in_progress":0,"completed":1,"failed":0,"rolled_back":0,"skipped":0},"wave":0,"waves":2,"message":"wave 1 has ended","held_up":""}');
INSERT INTO "events" VALUES(56,1796040924488456,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":1,"waiting":0,"in_progress":0,"completed":1,"failed":0,"rolled_back":0,"skipped":0},"wave":1,"waves":2,"message":"","held_up":""}');
INSERT INTO "events" VALUES(57,1796040924492016,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":1,"waiting":0,"in_progress":0,"completed":1,"failed":0,"rolled_back":0,"skipped":0},"wave":1,"waves":2,"message":"wave 2 begins","held_up":""}');
INSERT INTO "events" VALUES(58,1796040924497817,'state_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"pending_updates","to":"querying","cause":"query"}');
INSERT INTO "events" VALUES(59,1796040924497817,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"connect","message":""}');
INSERT INTO "events" VALUES(60,1796040924498083,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":0,"waiting":0,"in_progress":1,"completed":1,"failed":0,"rolled_back":0,"skipped":0},"wave":1,"waves":2,"message":"","held_up":""}');
INSERT INTO "events" VALUES(61,1796040924516909,'host_connected','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{}');
INSERT INTO "events" VALUES(62,1796040924516909,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"preflight","message":""}');
INSERT INTO "events" VALUES(63,1796040924878223,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"list","message":""}');
INSERT INTO "events" VALUES(64,1796040925773750,'duplicates_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"duplicate_of":[{"host":"db1","host_key":false,"address":false,"machine_id":true},{"host":"web1","host_key":false,"address":false,"machine_id":true}]}');
INSERT INTO "events" VALUES(65,1796040925773750,'state_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"querying","to":"pending_updates","cause":"updates_pending"}');
INSERT INTO "events" VALUES(66,1796040925773750,'state_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"pending_updates","to":"updating","cause":"update"}');
INSERT INTO "events" VALUES(67,1796040925773750,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"apply","message":""}');
INSERT INTO "events" VALUES(68,1796040926607409,'update_progress','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"package":"tb-simple","percent":25.0,"phase":"unpack"}');
INSERT INTO "events" VALUES(69,1796040926607409,'update_progress','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"package":"tb-simple","percent":75.0,"phase":"configure"}');
INSERT INTO "events" VALUES(70,1796040926607409,'update_progress','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"package":"tb-kernel","percent":25.0,"phase":"unpack"}');
INSERT INTO "events" VALUES(71,1796040926607409,'update_progress','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"package":"tb-kernel","percent":75.0,"phase":"configure"}');
INSERT INTO "events" VALUES(72,1796040926610688,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"reboot_check","message":""}');
INSERT INTO "events" VALUES(73,1796040927364843,'state_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"updating","to":"waiting_reboot","cause":"reboot_due"}');
INSERT INTO "events" VALUES(74,1796040927364843,'state_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"waiting_reboot","to":"rebooting","cause":"reboot"}');
INSERT INTO "events" VALUES(75,1796040927364843,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"reboot","message":""}');
INSERT INTO "events" VALUES(76,1796040930706679,'host_disconnected','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"reason":"reboot"}');
INSERT INTO "events" VALUES(77,1796040930706679,'host_connected','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{}');
INSERT INTO "events" VALUES(78,1796040930706679,'state_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"rebooting","to":"verifying","cause":"verify"}');
INSERT INTO "events" VALUES(79,1796040930706679,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"running","step":"verify","message":""}');
INSERT INTO "events" VALUES(80,1796040931406149,'update_completed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"result":{"success":true,"changes":[{"name":"tb-kernel","from_version":"1.0-1","to_version":"2.0-1"},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1"}],"planned":[{"name":"tb-kernel","from_version":"1.0-1","to_version":"2.0-1","architecture":"all","origin":"Debian:12/stable","security":false,"withheld":"no","advisories":[],"replaces":[]},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1","architecture":"all","origin":"Debian:12/stable","security":false,"withheld":"no","advisories":[],"replaces":[]}],"planned_removals":[],"undone":[],"planned_unneeded":[],"download_bytes":0,"differences":[],"snapshot":"","projects":[],"restarted":[],"rolled_back":false,"kept_conffiles":[],"saved_conffiles":[],"reboot_required":"not_needed","rebooted":true}}');
INSERT INTO "events" VALUES(81,1796040931406149,'operation_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"kind":"update","status":"succeeded","step":null,"message":""}');
INSERT INTO "events" VALUES(82,1796040931406149,'host_disconnected','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"reason":"the operation ended"}');
INSERT INTO "events" VALUES(83,1796040931406149,'state_changed','web2','01a22c61-9d51-789a-bf9d-713de7daf325','01a22c61-250b-7084-bc6d-306dc7cbf688','{"origin":"verifying","to":"idle","cause":"nothing_pending"}');
INSERT INTO "events" VALUES(84,1796040931412665,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"running","progress":{"total_hosts":2,"pending":0,"waiting":0,"in_progress":0,"completed":2,"failed":0,"rolled_back":0,"skipped":0},"wave":1,"waves":2,"message":"","held_up":""}');
INSERT INTO "events" VALUES(85,1796040931415412,'rollout_changed','','','01a22c61-250b-7084-bc6d-306dc7cbf688','{"status":"completed","progress":{"total_hosts":2,"pending":0,"waiting":0,"in_progress":0,"completed":2,"failed":0,"rolled_back":0,"skipped":0},"wave":1,"waves":2,"message":"wave 2 has ended","held_up":""}');
CREATE TABLE group_policies (
            host_group TEXT PRIMARY KEY,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        );
INSERT INTO "group_policies" VALUES('staging',4,'{"group":"staging","windows":[],"freezes":[],"hooks":{"pre":null,"post":{"script":"true","timeout":"PT300S","allowed_exit_codes":[0]}},"health_checks":{"checks":[],"settle":null},"changed_by":"ipv4:127.0.0.1","changed_at":"2026-11-30T12:14:50.595635Z","revision":4}');
CREATE TABLE host_counts (kind TEXT, name TEXT, hosts BIGINT NOT NULL, PRIMARY KEY (kind, name));
INSERT INTO "host_counts" VALUES('host','',3);
INSERT INTO "host_counts" VALUES('key','zone',3);
INSERT INTO "host_counts" VALUES('tag','web',2);
INSERT INTO "host_counts" VALUES('tag','zone=a',3);
INSERT INTO "host_counts" VALUES('group','production',3);
INSERT INTO "host_counts" VALUES('tag','db',1);
CREATE TABLE host_groups (name TEXT, host TEXT, PRIMARY KEY (name, host));
INSERT INTO "host_groups" VALUES('production','web1');
INSERT INTO "host_groups" VALUES('production','web2');
INSERT INTO "host_groups" VALUES('production','db1');
CREATE TABLE host_tags (name TEXT, host TEXT, PRIMARY KEY (name, host));
INSERT INTO "host_tags" VALUES('web','web1');
INSERT INTO "host_tags" VALUES('zone=a','web1');
INSERT INTO "host_tags" VALUES('web','web2');
INSERT INTO "host_tags" VALUES('zone=a','web2');
INSERT INTO "host_tags" VALUES('db','db1');
INSERT INTO "host_tags" VALUES('zone=a','db1');
CREATE TABLE hosts (
            name TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            reboot_need TEXT NOT NULL,
            labels TEXT NOT NULL,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        , host_key TEXT NOT NULL DEFAULT '', endpoint TEXT NOT NULL DEFAULT '', machine_id TEXT NOT NULL DEFAULT '');
INSERT INTO "hosts" VALUES('web1','idle','not_needed','[["web","zone=a"],["production"]]',53,'{"config":{"name":"web1","address":"127.0.0.1","port":32915,"user":"root","ssh_key":"","compose_paths":[],"compose_version":"auto","pull_before_update":true,"compose_health_timeout":"PT120S","compose_prune":false,"tags":["web","zone=a"],"groups":["production"],"policy":{"auto_reboot":null,"windows":[],"after_interruption":"upgrade","scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"restart_services":"never","snapshots":"never","rollback":"never","hooks":{"pre":null,"post":null},"health_checks":{"checks":[],"settle":null}}},"host_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDYHLIK/EQarElk97Dv0EorPzWiWsrd/Y2imDdHnIsH+","registered_at":"2026-11-30T12:14:50.513984Z","status":{"state":"idle","pending_count":0,"pending_security_count":0,"queried_at":"2026-11-30T12:14:54.045217Z","reboot":{"need":"not_needed","reason":"","since":null},"boot_id":"b42b0a88-c383-4864-ae83-4605cc4715e7","os_name":"Simulated Debian 12","healthy":true,"last_updated":"2026-11-30T12:14:54.469943Z","update_took":"PT3.007824S","last_problem":null,"failure":null,"retry_count":0,"machine_id":"3d1219c7c4c5404aaa1f6d2a48adfda4","duplicate_of":[{"host":"db1","host_key":false,"address":false,"machine_id":true},{"host":"web2","host_key":false,"address":false,"machine_id":true}]},"revision":53}','ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDYHLIK/EQarElk97Dv0EorPzWiWsrd/Y2imDdHnIsH+','127.0.0.1 32915','3d1219c7c4c5404aaa1f6d2a48adfda4');
INSERT INTO "hosts" VALUES('web2','idle','not_needed','[["web","zone=a"],["production"]]',83,'{"config":{"name":"web2","address":"127.0.0.1","port":42931,"user":"root","ssh_key":"","compose_paths":[],"compose_version":"auto","pull_before_update":true,"compose_health_timeout":"PT120S","compose_prune":false,"tags":["web","zone=a"],"groups":["production"],"policy":{"auto_reboot":null,"windows":[],"after_interruption":"upgrade","scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"restart_services":"never","snapshots":"never","rollback":"never","hooks":{"pre":null,"post":null},"health_checks":{"checks":[],"settle":null}}},"host_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPnarO+0V9HkOfYTwc7JEq3vmG2ElUvwCZsebVAbhMV1","registered_at":"2026-11-30T12:14:50.541378Z","status":{"state":"idle","pending_count":0,"pending_security_count":0,"queried_at":"2026-11-30T12:15:30.809772Z","reboot":{"need":"not_needed","reason":"","since":null},"boot_id":"701cc70a-1075-42ca-89e6-1b128fdc51b5","os_name":"Simulated Debian 12","healthy":true,"last_updated":"2026-11-30T12:15:31.406149Z","update_took":"PT6.908332S","last_problem":null,"failure":null,"retry_count":0,"machine_id":"3d1219c7c4c5404aaa1f6d2a48adfda4","duplicate_of":[{"host":"db1","host_key":false,"address":false,"machine_id":true},{"host":"web1","host_key":false,"address":false,"machine_id":true}]},"revision":83}','ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPnarO+0V9HkOfYTwc7JEq3vmG2ElUvwCZsebVAbhMV1','127.0.0.1 42931','3d1219c7c4c5404aaa1f6d2a48adfda4');
INSERT INTO "hosts" VALUES('db1','idle','not_needed','[["db","zone=a"],["production"]]',27,'{"config":{"name":"db1","address":"127.0.0.1","port":39995,"user":"root","ssh_key":"","compose_paths":[],"compose_version":"auto","pull_before_update":true,"compose_health_timeout":"PT120S","compose_prune":false,"tags":["db","zone=a"],"groups":["production"],"policy":{"auto_reboot":null,"windows":[],"after_interruption":"upgrade","scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"restart_services":"never","snapshots":"never","rollback":"never","hooks":{"pre":null,"post":null},"health_checks":{"checks":[],"settle":null}}},"host_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII2a1lgbXmtjnAveZXIyaCpvsXhiubavAWZv7y2s3EVY","registered_at":"2026-11-30T12:14:50.579286Z","status":{"state":"idle","pending_count":0,"pending_security_count":0,"queried_at":"2026-11-30T12:14:51.481801Z","reboot":{"need":"not_needed","reason":"","since":null},"boot_id":"c6b11a17-15d9-4646-9716-02476b84a243","os_name":"Simulated Debian 12","healthy":null,"last_updated":null,"update_took":null,"last_problem":null,"failure":null,"retry_count":0,"machine_id":"3d1219c7c4c5404aaa1f6d2a48adfda4","duplicate_of":[{"host":"web2","host_key":false,"address":false,"machine_id":true}]},"revision":27}','ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII2a1lgbXmtjnAveZXIyaCpvsXhiubavAWZv7y2s3EVY','127.0.0.1 39995','3d1219c7c4c5404aaa1f6d2a48adfda4');
CREATE TABLE inventories (
            host TEXT PRIMARY KEY,
            pending TEXT NOT NULL,
            document TEXT NOT NULL
        );
INSERT INTO "inventories" VALUES('web2','{"packages":[],"queried_at":"2026-11-30T12:15:30.809772Z","security_known":true}','{"system":{"os_id":"debian","os_version":"12","os_name":"Simulated Debian 12","kernel":"6.1.0-0-simulated","architecture":"x86_64","boot_id":"701cc70a-1075-42ca-89e6-1b128fdc51b5","machine_id":"3d1219c7c4c5404aaa1f6d2a48adfda4","uptime":"PT2S","package_manager":"apt","init":"init","virtualization":"none","container":false,"concluded":["package manager apt: os-release names debian, and apt-get is there","bare metal: no virtualization is seen","init init: the name of process 1"]},"installed":[["tb-kernel","2.0-1"],["tb-simple","2.0-1"]],"outdated_services":[],"machine":{"vendor":"","model":"","serial":"","uuid":"","hostname":"vm"},"cpu":{"model":"AMD EPYC","sockets":1,"cores":2,"threads":2},"memory":{"total_bytes":25276063744,"available_bytes":23681327104},"mounts":[],"interfaces":[{"name":"eth0","mac":"02:fc:00:00:00:01","addresses":["192.0.2.2","fd00::2","fe80::fc:ff:fe00:1"],"mtu":1400},{"name":"ifb0","mac":"c2:c4:61:3f:0c:63","addresses":[],"mtu":1500},{"name":"ifb1","mac":"86:21:94:23:a7:4f","addresses":[],"mtu":1500},{"name":"lo","mac":"","addresses":["127.0.0.1","::1"],"mtu":65536},{"name":"thfleet0","mac":"8e:c8:3c:9a:e5:6c","addresses":["10.77.0.2","fe80::8cc8:3cff:fe9a:e56c"],"mtu":1500},{"name":"thfleet1","mac":"ea:41:af:cf:a8:88","addresses":["10.77.4.2","fe80::e841:afff:fecf:a888"],"mtu":1500}],"containers":[],"images":[],"projects":[],"sources":{"packages":"native","pending":"native","system":"native","hardware":"native","network":"native"},"missing":[],"collected_at":"2026-11-30T12:15:30.809772Z"}');
INSERT INTO "inventories" VALUES('db1','{"packages":[{"name":"tb-held","from_version":"1.0-1","to_version":"2.0-1","architecture":"amd64","origin":"bookworm/main","security":false,"withheld":"held","advisories":[],"replaces":[]}],"queried_at":"2026-11-30T12:14:51.481801Z","security_known":true}','{"system":{"os_id":"debian","os_version":"12","os_name":"Simulated Debian 12","kernel":"6.1.0-0-simulated","architecture":"x86_64","boot_id":"c6b11a17-15d9-4646-9716-02476b84a243","machine_id":"3d1219c7c4c5404aaa1f6d2a48adfda4","uptime":"PT1S","package_manager":"apt","init":"init","virtualization":"none","container":false,"concluded":["package manager apt: os-release names debian, and apt-get is there","bare metal: no virtualization is seen","init init: the name of process 1"]},"installed":[["tb-held","1.0-1"]],"outdated_services":[],"machine":null,"cpu":null,"memory":null,"mounts":[],"interfaces":[],"containers":[],"images":[],"projects":[],"sources":{"packages":"native","pending":"native"},"missing":[],"collected_at":"2026-11-30T12:14:51.481801Z"}');
INSERT INTO "inventories" VALUES('web1','{"packages":[],"queried_at":"2026-11-30T12:14:54.045217Z","security_known":true}','{"system":{"os_id":"debian","os_version":"12","os_name":"Simulated Debian 12","kernel":"6.1.0-0-simulated","architecture":"x86_64","boot_id":"b42b0a88-c383-4864-ae83-4605cc4715e7","machine_id":"3d1219c7c4c5404aaa1f6d2a48adfda4","uptime":"PT1S","package_manager":"apt","init":"init","virtualization":"none","container":false,"concluded":["package manager apt: os-release names debian, and apt-get is there","bare metal: no virtualization is seen","init init: the name of process 1"]},"installed":[["tb-secure","1.0-1+deb12u1"],["tb-simple","2.0-1"]],"outdated_services":[],"machine":null,"cpu":null,"memory":null,"mounts":[],"interfaces":[],"containers":[],"images":[],"projects":[],"sources":{"packages":"native","pending":"native"},"missing":[],"collected_at":"2026-11-30T12:14:54.045217Z"}');
CREATE TABLE members (
            rollout TEXT,
            host TEXT,
            wave INTEGER NOT NULL,
            position INTEGER NOT NULL,
            status TEXT NOT NULL,
            not_before BIGINT NOT NULL,
            blocked_by TEXT NOT NULL,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (rollout, host)
        );
INSERT INTO "members" VALUES('01a22c61-250b-7084-bc6d-306dc7cbf688','web1',0,0,'completed',0,'',54,'{"rollout":"01a22c61-250b-7084-bc6d-306dc7cbf688","host":"web1","wave":0,"position":0,"check":"","status":"completed","waiting":null,"not_before":null,"blocked_by":"","operation":"01a22c61-2526-77fe-9738-c75159e95d3a","detail":"","retry":false,"reboot_left":false,"registered_at":"2026-11-30T12:14:50.513984Z","dependence":{"rank":[0,0],"before":[],"after":[]}}');
INSERT INTO "members" VALUES('01a22c61-250b-7084-bc6d-306dc7cbf688','web2',1,1,'completed',0,'',84,'{"rollout":"01a22c61-250b-7084-bc6d-306dc7cbf688","host":"web2","wave":1,"position":1,"check":"","status":"completed","waiting":null,"not_before":null,"blocked_by":"","operation":"01a22c61-9d51-789a-bf9d-713de7daf325","detail":"","retry":false,"reboot_left":false,"registered_at":"2026-11-30T12:14:50.541378Z","dependence":{"rank":[0,0],"before":[],"after":[]}}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('log_id','0fd26a4d-4e1b-4971-8e16-454be19f69be');
INSERT INTO "meta" VALUES('clock_trust','{"expected":"2026-11-30T12:14:49.703944Z","seen":"2026-11-30T12:14:49.703944Z","doubted_for":null,"aging":{"marks":[{"age":"P0D","revision":0}]}}');
CREATE TABLE notification_cursors (reader TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE operation_logs (
            operation TEXT,
            position BIGINT,
            data BLOB NOT NULL,
            PRIMARY KEY (operation, position)
        );
INSERT INTO "operation_logs" VALUES('01a22c61-192e-786e-b1df-669ba0997553',0,X'556E7061636B696E672074622D73696D706C652028322E302D3129206F7665722028312E302D3129202E2E2E0A53657474696E672075702074622D73696D706C652028322E302D3129202E2E2E0A556E7061636B696E672074622D7365637572652028312E302D312B6465623132753129206F7665722028312E302D3129202E2E2E0A53657474696E672075702074622D7365637572652028312E302D312B6465623132753129202E2E2E0A');
INSERT INTO "operation_logs" VALUES('01a22c61-9d51-789a-bf9d-713de7daf325',0,X'556E7061636B696E672074622D73696D706C652028322E302D3129206F7665722028312E302D3129202E2E2E0A53657474696E672075702074622D73696D706C652028322E302D3129202E2E2E0A556E7061636B696E672074622D6B65726E656C2028322E302D3129206F7665722028312E302D3129202E2E2E0A53657474696E672075702074622D6B65726E656C2028322E302D3129202E2E2E0A');
CREATE TABLE operations (
            id TEXT PRIMARY KEY,
            host TEXT NOT NULL,
            rollout TEXT NOT NULL,
            status TEXT NOT NULL,
            disruptive INTEGER NOT NULL,
            ended_at BIGINT,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        , quiet_writes BIGINT NOT NULL DEFAULT 0);
INSERT INTO "operations" VALUES('01a22c61-192b-79cc-a8e4-c63628212cd8','db1','','succeeded',0,1796040891998225,27,'{"id":"01a22c61-192b-79cc-a8e4-c63628212cd8","host":"db1","kind":"update","created_at":"2026-11-30T12:14:50.667452Z","created_by":"ipv4:127.0.0.1","rollout":"","dry_run":true,"options":{"scope":null,"agreed":null,"exact":false,"download_only":false,"only_if_required":false,"window_override_reason":""},"parts":[],"status":"succeeded","started_at":"2026-11-30T12:14:50.667695Z","ended_at":"2026-11-30T12:14:51.998225Z","steps":[{"name":"connect","status":"succeeded","started_at":"2026-11-30T12:14:50.667695Z","ended_at":"2026-11-30T12:14:50.823815Z","attempts":1,"detail":"logged in as root"},{"name":"preflight","status":"succeeded","started_at":"2026-11-30T12:14:50.823815Z","ended_at":"2026-11-30T12:14:51.481579Z","attempts":1,"detail":"fit for a change"},{"name":"list","status":"succeeded","started_at":"2026-11-30T12:14:51.481579Z","ended_at":"2026-11-30T12:14:51.998225Z","attempts":1,"detail":"0 updates pending, 1 withheld; no reboot needed"}],"facts":{"pending_count":0,"scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"pre_hook_due":false,"post_hook_due":false,"download_due":false,"snapshots":"never","compose_due":false,"services_due":false,"rollback":false,"reboot_need":"not_needed","reboot_reason":"","reboot_allowed":true,"reboot_hindrance":"","package_manager":"apt","boot_id":"c6b11a17-15d9-4646-9716-02476b84a243/1","reboot_ordered_at":null,"failed_units":[],"apply_again":true},"problem":null,"failed_step":null,"update":{"success":true,"changes":[],"planned":[{"name":"tb-held","from_version":"1.0-1","to_version":"2.0-1","architecture":"amd64","origin":"bookworm/main","security":false,"withheld":"held","advisories":[],"replaces":[]}],"planned_removals":[],"undone":[],"planned_unneeded":[],"download_bytes":null,"differences":[],"snapshot":"","projects":[],"restarted":[],"rolled_back":false,"kept_conffiles":[],"saved_conffiles":[],"reboot_required":"not_needed","rebooted":false},"health":null,"cancel_requested_by":"","log_size":0,"progress":null,"time_limit":"PT21600S","slot_at":"2026-11-30T12:14:50.676694Z","epoch":1,"job":null,"jobs_begun":0,"resumes":"","resume_at":null,"retried":null,"revision":27,"quiet_writes":0}',0);
INSERT INTO "operations" VALUES('01a22c61-192b-79cc-a8e4-c63709912331','web2','','succeeded',0,1796040891616787,21,'{"id":"01a22c61-192b-79cc-a8e4-c63709912331","host":"web2","kind":"query","created_at":"2026-11-30T12:14:50.667987Z","created_by":"ipv4:127.0.0.1","rollout":"","dry_run":false,"options":{"scope":null,"agreed":null,"exact":false,"download_only":false,"only_if_required":false,"window_override_reason":""},"parts":[],"status":"succeeded","started_at":"2026-11-30T12:14:50.668046Z","ended_at":"2026-11-30T12:14:51.616787Z","steps":[{"name":"connect","status":"succeeded","started_at":"2026-11-30T12:14:50.668046Z","ended_at":"2026-11-30T12:14:50.826041Z","attempts":1,"detail":"logged in as root"},{"name":"list","status":"succeeded","started_at":"2026-11-30T12:14:50.826041Z","ended_at":"2026-11-30T12:14:51.616787Z","attempts":1,"detail":"2 updates pending; no reboot needed"}],"facts":{"pending_count":2,"scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"pre_hook_due":false,"post_hook_due":false,"download_due":false,"snapshots":"never","compose_due":false,"services_due":false,"rollback":false,"reboot_need":"not_needed","reboot_reason":"","reboot_allowed":true,"reboot_hindrance":"","package_manager":"apt","boot_id":"651cc405-2e6a-4ffd-9b9e-20b63b1e6735/1","reboot_ordered_at":null,"failed_units":[],"apply_again":true},"problem":null,"failed_step":null,"update":null,"health":null,"cancel_requested_by":"","log_size":0,"progress":null,"time_limit":"PT21600S","slot_at":"2026-11-30T12:14:50.678792Z","epoch":1,"job":null,"jobs_begun":0,"resumes":"","resume_at":null,"retried":null,"revision":21,"quiet_writes":0}',0);
INSERT INTO "operations" VALUES('01a22c61-192e-786e-b1df-669ba0997553','web1','','succeeded',1,1796040893677908,42,'{"id":"01a22c61-192e-786e-b1df-669ba0997553","host":"web1","kind":"update","created_at":"2026-11-30T12:14:50.670023Z","created_by":"ipv4:127.0.0.1","rollout":"","dry_run":false,"options":{"scope":null,"agreed":null,"exact":false,"download_only":false,"only_if_required":false,"window_override_reason":""},"parts":[],"status":"succeeded","started_at":"2026-11-30T12:14:50.670084Z","ended_at":"2026-11-30T12:14:53.677908Z","steps":[{"name":"connect","status":"succeeded","started_at":"2026-11-30T12:14:50.670084Z","ended_at":"2026-11-30T12:14:50.886777Z","attempts":1,"detail":"logged in as root"},{"name":"preflight","status":"succeeded","started_at":"2026-11-30T12:14:50.886777Z","ended_at":"2026-11-30T12:14:51.322515Z","attempts":1,"detail":"fit for a change"},{"name":"list","status":"succeeded","started_at":"2026-11-30T12:14:51.322515Z","ended_at":"2026-11-30T12:14:52.102819Z","attempts":1,"detail":"2 updates pending, 1 of them security updates; no reboot needed"},{"name":"apply","status":"succeeded","started_at":"2026-11-30T12:14:52.102819Z","ended_at":"2026-11-30T12:14:52.957113Z","attempts":1,"detail":"the package manager is done"},{"name":"reboot_check","status":"succeeded","started_at":"2026-11-30T12:14:52.957113Z","ended_at":"2026-11-30T12:14:53.552683Z","attempts":1,"detail":"2 packages changed; no reboot needed"},{"name":"verify","status":"succeeded","started_at":"2026-11-30T12:14:53.552683Z","ended_at":"2026-11-30T12:14:53.677908Z","attempts":1,"detail":"healthy"}],"facts":{"pending_count":0,"scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"pre_hook_due":false,"post_hook_due":false,"download_due":false,"snapshots":"never","compose_due":false,"services_due":false,"rollback":false,"reboot_need":"not_needed","reboot_reason":"","reboot_allowed":true,"reboot_hindrance":"","package_manager":"apt","boot_id":"b42b0a88-c383-4864-ae83-4605cc4715e7/1","reboot_ordered_at":null,"failed_units":[],"apply_again":true},"problem":null,"failed_step":null,"update":{"success":true,"changes":[{"name":"tb-secure","from_version":"1.0-1","to_version":"1.0-1+deb12u1"},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1"}],"planned":[{"name":"tb-secure","from_version":"1.0-1","to_version":"1.0-1+deb12u1","architecture":"all","origin":"Debian-Security:12/stable-security","security":true,"withheld":"no","advisories":[],"replaces":[]},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1","architecture":"all","origin":"Debian:12/stable","security":false,"withheld":"no","advisories":[],"replaces":[]}],"planned_removals":[],"undone":[],"planned_unneeded":[],"download_bytes":0,"differences":[],"snapshot":"","projects":[],"restarted":[],"rolled_back":false,"kept_conffiles":[],"saved_conffiles":[],"reboot_required":"not_needed","rebooted":false},"health":{"healthy":true,"message":"healthy","checks":[{"name":"systemd","healthy":true,"message":"healthy","tries":1,"failures":0}]},"cancel_requested_by":"","log_size":172,"progress":null,"time_limit":"PT21600S","slot_at":"2026-11-30T12:14:50.728261Z","epoch":2,"job":{"operation":"01a22c61-192e-786e-b1df-669ba0997553","kind":"apply","number":1,"log_start":0,"log_read":172,"status_read":288,"begun":true,"concluded":true},"jobs_begun":1,"resumes":"","resume_at":null,"retried":null,"revision":42,"quiet_writes":0}',0);
INSERT INTO "operations" VALUES('01a22c61-2526-77fe-9738-c75159e95d3a','web1','01a22c61-250b-7084-bc6d-306dc7cbf688','succeeded',1,1796040894469943,53,'{"id":"01a22c61-2526-77fe-9738-c75159e95d3a","host":"web1","kind":"update","created_at":"2026-11-30T12:14:53.734191Z","created_by":"ipv4:127.0.0.1","rollout":"01a22c61-250b-7084-bc6d-306dc7cbf688","dry_run":false,"options":{"scope":null,"agreed":null,"exact":false,"download_only":false,"only_if_required":false,"window_override_reason":""},"parts":[],"status":"succeeded","started_at":"2026-11-30T12:14:53.734314Z","ended_at":"2026-11-30T12:14:54.469943Z","steps":[{"name":"connect","status":"succeeded","started_at":"2026-11-30T12:14:53.734314Z","ended_at":"2026-11-30T12:14:53.760758Z","attempts":1,"detail":"logged in as root"},{"name":"preflight","status":"succeeded","started_at":"2026-11-30T12:14:53.760758Z","ended_at":"2026-11-30T12:14:54.044940Z","attempts":1,"detail":"fit for a change"},{"name":"list","status":"succeeded","started_at":"2026-11-30T12:14:54.044940Z","ended_at":"2026-11-30T12:14:54.469943Z","attempts":1,"detail":"0 updates pending; no reboot needed"}],"facts":{"pending_count":0,"scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"pre_hook_due":false,"post_hook_due":false,"download_due":false,"snapshots":"never","compose_due":false,"services_due":false,"rollback":false,"reboot_need":"not_needed","reboot_reason":"","reboot_allowed":true,"reboot_hindrance":"","package_manager":"apt","boot_id":"b42b0a88-c383-4864-ae83-4605cc4715e7/1","reboot_ordered_at":null,"failed_units":[],"apply_again":true},"problem":null,"failed_step":null,"update":{"success":true,"changes":[],"planned":[],"planned_removals":[],"undone":[],"planned_unneeded":[],"download_bytes":null,"differences":[],"snapshot":"","projects":[],"restarted":[],"rolled_back":false,"kept_conffiles":[],"saved_conffiles":[],"reboot_required":"not_needed","rebooted":false},"health":null,"cancel_requested_by":"","log_size":0,"progress":null,"time_limit":"PT21600S","slot_at":"2026-11-30T12:14:53.741525Z","epoch":1,"job":null,"jobs_begun":0,"resumes":"","resume_at":null,"retried":null,"revision":53,"quiet_writes":0}',0);
INSERT INTO "operations" VALUES('01a22c61-9d51-789a-bf9d-713de7daf325','web2','01a22c61-250b-7084-bc6d-306dc7cbf688','succeeded',1,1796040931406149,83,'{"id":"01a22c61-9d51-789a-bf9d-713de7daf325","host":"web2","kind":"update","created_at":"2026-11-30T12:15:24.497727Z","created_by":"ipv4:127.0.0.1","rollout":"01a22c61-250b-7084-bc6d-306dc7cbf688","dry_run":false,"options":{"scope":null,"agreed":null,"exact":false,"download_only":false,"only_if_required":false,"window_override_reason":""},"parts":[],"status":"succeeded","started_at":"2026-11-30T12:15:24.497817Z","ended_at":"2026-11-30T12:15:31.406149Z","steps":[{"name":"connect","status":"succeeded","started_at":"2026-11-30T12:15:24.497817Z","ended_at":"2026-11-30T12:15:24.516909Z","attempts":1,"detail":"logged in as root"},{"name":"preflight","status":"succeeded","started_at":"2026-11-30T12:15:24.516909Z","ended_at":"2026-11-30T12:15:24.878223Z","attempts":1,"detail":"fit for a change"},{"name":"list","status":"succeeded","started_at":"2026-11-30T12:15:24.878223Z","ended_at":"2026-11-30T12:15:25.773750Z","attempts":1,"detail":"2 updates pending; no reboot needed"},{"name":"apply","status":"succeeded","started_at":"2026-11-30T12:15:25.773750Z","ended_at":"2026-11-30T12:15:26.610688Z","attempts":1,"detail":"the package manager is done"},{"name":"reboot_check","status":"succeeded","started_at":"2026-11-30T12:15:26.610688Z","ended_at":"2026-11-30T12:15:27.364843Z","attempts":1,"detail":"2 packages changed; reboot needed (tb-kernel asks for it)"},{"name":"reboot","status":"succeeded","started_at":"2026-11-30T12:15:27.364843Z","ended_at":"2026-11-30T12:15:30.706679Z","attempts":1,"detail":"back after 3 s"},{"name":"verify","status":"succeeded","started_at":"2026-11-30T12:15:30.706679Z","ended_at":"2026-11-30T12:15:31.406149Z","attempts":1,"detail":"healthy"}],"facts":{"pending_count":0,"scope":{"security_only":false,"include":[],"exclude":[],"allow_removals":false,"autoremove":false,"download_first":false},"pre_hook_due":false,"post_hook_due":false,"download_due":false,"snapshots":"never","compose_due":false,"services_due":false,"rollback":false,"reboot_need":"not_needed","reboot_reason":"tb-kernel asks for it","reboot_allowed":true,"reboot_hindrance":"","package_manager":"apt","boot_id":"651cc405-2e6a-4ffd-9b9e-20b63b1e6735/1","reboot_ordered_at":"2026-11-30T12:15:27.367670Z","failed_units":[],"apply_again":true},"problem":null,"failed_step":null,"update":{"success":true,"changes":[{"name":"tb-kernel","from_version":"1.0-1","to_version":"2.0-1"},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1"}],"planned":[{"name":"tb-kernel","from_version":"1.0-1","to_version":"2.0-1","architecture":"all","origin":"Debian:12/stable","security":false,"withheld":"no","advisories":[],"replaces":[]},{"name":"tb-simple","from_version":"1.0-1","to_version":"2.0-1","architecture":"all","origin":"Debian:12/stable","security":false,"withheld":"no","advisories":[],"replaces":[]}],"planned_removals":[],"undone":[],"planned_unneeded":[],"download_bytes":0,"differences":[],"snapshot":"","projects":[],"restarted":[],"rolled_back":false,"kept_conffiles":[],"saved_conffiles":[],"reboot_required":"not_needed","rebooted":true},"health":{"healthy":true,"message":"healthy","checks":[{"name":"systemd","healthy":true,"message":"healthy","tries":1,"failures":0}]},"cancel_requested_by":"","log_size":156,"progress":null,"time_limit":"PT21600S","slot_at":"2026-11-30T12:15:24.504858Z","epoch":2,"job":{"operation":"01a22c61-9d51-789a-bf9d-713de7daf325","kind":"apply","number":1,"log_start":0,"log_read":156,"status_read":288,"begun":true,"concluded":true},"jobs_begun":1,"resumes":"","resume_at":null,"retried":null,"revision":83,"quiet_writes":0}',0);
CREATE TABLE plan_parts (
            plan TEXT,
            number INTEGER,
            document TEXT NOT NULL,
            PRIMARY KEY (plan, number)
        );
CREATE TABLE plans (id TEXT PRIMARY KEY, at BIGINT NOT NULL, document TEXT NOT NULL);
CREATE TABLE pruned_rollouts (id TEXT PRIMARY KEY);
CREATE TABLE removed_hosts (name TEXT PRIMARY KEY, revision BIGINT NOT NULL);
CREATE TABLE requests (
            id TEXT PRIMARY KEY,
            digest BLOB NOT NULL,
            response BLOB NOT NULL,
            at BIGINT NOT NULL
        , revision BIGINT NOT NULL DEFAULT 0);
CREATE TABLE rollouts (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL,
            ended_at BIGINT,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        );
INSERT INTO "rollouts" VALUES('01a22c61-250b-7084-bc6d-306dc7cbf688','completed',1796040931415276,85,'{"id":"01a22c61-250b-7084-bc6d-306dc7cbf688","spec":{"filter":{"names":[],"all_tags":["web"],"any_tags":[],"groups":[],"states":[],"exclude_hosts":[],"reboot_needed":null,"name_prefix":"","selection":"","also":null},"division":{"waves":["1","rest"],"stages":[],"dependencies":[],"order":"name","seed":0},"delay_between_waves":"PT30S","settle":"P0D","max_failures":"","budgets":[],"ignore_earlier_failures":false,"approve_waves":false,"approvers":[],"approval_timeout":"P1D","expires_after":null,"window_override_reason":"","dry_run":false,"scope":null,"require_rebooted":false},"created_at":"2026-11-30T12:14:53.707454Z","progress":{"total_hosts":2,"pending":0,"waiting":0,"in_progress":0,"completed":2,"failed":0,"rolled_back":0,"skipped":0},"waves":2,"status":"completed","created_by":"ipv4:127.0.0.1","retry_of":"","wave":1,"next_wave_at":null,"settling":null,"approval_until":null,"approved_wave":0,"halt":null,"failed_hosts":[],"expected_rest":"P0D","held_up":"","held_up_since":null,"held_up_told":false,"opens_at":null,"notes":[],"reboots_left":0,"forerunners":[],"expired_while":"","expiry_shift":"P0D","expected_end":null,"ended_at":"2026-11-30T12:15:31.415276Z","revision":85}');
CREATE TABLE schedules (
            name TEXT PRIMARY KEY,
            next_at BIGINT,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        );
INSERT INTO "schedules" VALUES('yearly',NULL,7,'{"spec":{"name":"yearly","recurrence":{"cron":"0 3 1 1 *","rrule":"","time_zone":"Europe/Vienna","start":"2026-11-30T12:14:50.648328Z","offset_days":0},"rollout":{"filter":{"names":[],"all_tags":[],"any_tags":[],"groups":[],"states":[],"exclude_hosts":[],"reboot_needed":null,"name_prefix":"","selection":"","also":null},"division":{"waves":["1"],"stages":[],"dependencies":[],"order":"name","seed":0},"delay_between_waves":"PT30S","settle":"P0D","max_failures":"","budgets":[],"ignore_earlier_failures":false,"approve_waves":false,"approvers":[],"approval_timeout":"P1D","expires_after":null,"window_override_reason":"","dry_run":false,"scope":null,"require_rebooted":false},"missed":"skip","grace":"PT900S"},"created_at":"2026-11-30T12:14:50.648328Z","created_by":"ipv4:127.0.0.1","paused":true,"next_at":null,"computed_at":null,"last_run":null,"last_rollout":"","revision":7}');
CREATE TABLE selections (
            name TEXT PRIMARY KEY,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        );
INSERT INTO "selections" VALUES('webs',5,'{"name":"webs","filter":{"names":[],"all_tags":["web"],"any_tags":[],"groups":[],"states":[],"exclude_hosts":[],"reboot_needed":null,"name_prefix":"","selection":"","also":null},"changed_at":"2026-11-30T12:14:50.602949Z","changed_by":"ipv4:127.0.0.1","revision":5}');
CREATE TABLE waves (
            rollout TEXT,
            number INTEGER,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (rollout, number)
        );
INSERT INTO "waves" VALUES('01a22c61-250b-7084-bc6d-306dc7cbf688',0,55,'{"rollout":"01a22c61-250b-7084-bc6d-306dc7cbf688","number":0,"progress":{"total_hosts":1,"pending":0,"waiting":0,"in_progress":0,"completed":1,"failed":0,"rolled_back":0,"skipped":0},"stage":"","expected":"PT3.007824S","started_at":"2026-11-30T12:14:53.720581Z","ended_at":"2026-11-30T12:14:54.486367Z","settled_at":null,"approved_by":"","approved_at":null}');
INSERT INTO "waves" VALUES('01a22c61-250b-7084-bc6d-306dc7cbf688',1,85,'{"rollout":"01a22c61-250b-7084-bc6d-306dc7cbf688","number":1,"progress":{"total_hosts":1,"pending":0,"waiting":0,"in_progress":0,"completed":1,"failed":0,"rolled_back":0,"skipped":0},"stage":"","expected":"PT3.007824S","started_at":"2026-11-30T12:15:24.492007Z","ended_at":"2026-11-30T12:15:31.415276Z","settled_at":null,"approved_by":"","approved_at":null}');
CREATE INDEX hosts_failed ON hosts (name) WHERE state = 'failed';
CREATE INDEX host_tags_by_host ON host_tags (host);
CREATE INDEX host_groups_by_host ON host_groups (host);
CREATE UNIQUE INDEX one_running_operation ON operations (host) WHERE status = 'running';
CREATE INDEX operations_disruptive ON operations (host)
        WHERE status = 'running' AND disruptive = 1
        ;
CREATE INDEX operations_by_host ON operations (host, id);
CREATE INDEX operations_by_rollout ON operations (rollout, id) WHERE rollout <> '';
CREATE INDEX operations_queued ON operations (host, id) WHERE status = 'queued';
CREATE INDEX operations_by_status ON operations (status, id);
CREATE INDEX operations_unfinished ON operations (id) WHERE ended_at IS NULL;
CREATE INDEX operations_by_end ON operations (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX members_in_order ON members (rollout, position);
CREATE INDEX members_by_status ON members (rollout, status, position);
CREATE INDEX members_waiting ON members (rollout, wave, blocked_by, not_before)
        WHERE status = 'waiting'
        ;
CREATE INDEX members_by_host ON members (host, rollout);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX hosts_by_state ON hosts (state, reboot_need, name);
CREATE INDEX hosts_by_reboot_need ON hosts (reboot_need, name);
CREATE INDEX rollouts_by_status ON rollouts (status, id);
CREATE INDEX rollouts_by_end ON rollouts (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX plans_by_time ON plans (at);
CREATE INDEX members_pending ON members (rollout, wave, position) WHERE status = 'pending';
CREATE INDEX hosts_by_revision ON hosts (revision, name);
CREATE INDEX removed_hosts_by_revision ON removed_hosts (revision, name);
CREATE INDEX members_by_revision ON members (rollout, revision, position);
CREATE INDEX waves_by_revision ON waves (rollout, revision, number);
CREATE INDEX hosts_by_machine_id ON hosts (machine_id, name);
CREATE INDEX hosts_by_host_key ON hosts (host_key, name);
CREATE INDEX hosts_by_endpoint ON hosts (endpoint, name);
CREATE INDEX requests_by_revision ON requests (revision);
COMMIT;
PRAGMA user_version = 9;
