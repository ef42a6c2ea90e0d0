CREATE DOMAIN domain_change_d AS int DEFAULT 2 NOT NULL CONSTRAINT domain_change_c CHECK (VALUE > 1);
CREATE TABLE domain_change_x (a domain_change_d);
