CREATE TABLE "quoted_names_My Table" ("Id" int PRIMARY KEY, "select" text, "a ""b""" int DEFAULT 3);
CREATE INDEX "quoted_names_Ix" ON "quoted_names_My Table" ("select");
COMMENT ON COLUMN "quoted_names_My Table"."a ""b""" IS $$x$$;
