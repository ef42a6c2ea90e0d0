CREATE TABLE "quoted_names_My Table" ("Id" int PRIMARY KEY, "select" text);
