CREATE TABLE `django_celery_results_chordcounter` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `group_id` varchar(255) NOT NULL,
  `sub_tasks` longtext NOT NULL,
  `count` int(10) unsigned NOT NULL CHECK (`count` >= 0),
  PRIMARY KEY (`id`),
  UNIQUE KEY `group_id` (`group_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE `django_celery_results_groupresult` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `group_id` varchar(255) NOT NULL,
  `date_created` datetime(6) NOT NULL,
  `date_done` datetime(6) NOT NULL,
  `content_type` varchar(128) NOT NULL,
  `content_encoding` varchar(64) NOT NULL,
  `result` longtext DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `group_id` (`group_id`),
  KEY `django_cele_date_cr_bd6c1d_idx` (`date_created`),
  KEY `django_cele_date_do_caae0e_idx` (`date_done`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE `django_celery_results_taskresult` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `task_id` varchar(255) NOT NULL,
  `status` varchar(50) NOT NULL,
  `content_type` varchar(128) NOT NULL,
  `content_encoding` varchar(64) NOT NULL,
  `result` longtext DEFAULT NULL,
  `date_done` datetime(6) NOT NULL,
  `traceback` longtext DEFAULT NULL,
  `meta` longtext DEFAULT NULL,
  `task_args` longtext DEFAULT NULL,
  `task_kwargs` longtext DEFAULT NULL,
  `task_name` varchar(255) DEFAULT NULL,
  `worker` varchar(100) DEFAULT NULL,
  `date_created` datetime(6) NOT NULL,
  `periodic_task_name` varchar(255) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `task_id` (`task_id`),
  KEY `django_cele_task_na_08aec9_idx` (`task_name`),
  KEY `django_cele_status_9b6201_idx` (`status`),
  KEY `django_cele_worker_d54dd8_idx` (`worker`),
  KEY `django_cele_date_cr_f04a50_idx` (`date_created`),
  KEY `django_cele_date_do_f59aad_idx` (`date_done`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE `django_migrations` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `app` varchar(255) NOT NULL,
  `name` varchar(255) NOT NULL,
  `applied` datetime(6) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `django_migrations` VALUES (1,'django_celery_results','0001_initial','2026-11-25 22:38:21.168627');
INSERT INTO `django_migrations` VALUES (2,'django_celery_results','0002_add_task_name_args_kwargs','2026-11-25 22:38:21.175088');
INSERT INTO `django_migrations` VALUES (3,'django_celery_results','0003_auto_20181106_1101','2026-11-25 22:38:21.175993');
INSERT INTO `django_migrations` VALUES (4,'django_celery_results','0004_auto_20190516_0412','2026-11-25 22:38:21.186603');
INSERT INTO `django_migrations` VALUES (5,'django_celery_results','0005_taskresult_worker','2026-11-25 22:38:21.191344');
INSERT INTO `django_migrations` VALUES (6,'django_celery_results','0006_taskresult_date_created','2026-11-25 22:38:21.198398');
INSERT INTO `django_migrations` VALUES (7,'django_celery_results','0007_remove_taskresult_hidden','2026-11-25 22:38:21.201394');
INSERT INTO `django_migrations` VALUES (8,'django_celery_results','0008_chordcounter','2026-11-25 22:38:21.203542');
INSERT INTO `django_migrations` VALUES (9,'django_celery_results','0009_groupresult','2026-11-25 22:38:21.257054');
INSERT INTO `django_migrations` VALUES (10,'django_celery_results','0010_remove_duplicate_indices','2026-11-25 22:38:21.259125');
INSERT INTO `django_migrations` VALUES (11,'django_celery_results','0011_taskresult_periodic_task_name','2026-11-25 22:38:21.261997');
