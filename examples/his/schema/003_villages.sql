-- The fifth level of the divisions, for sites that register addresses down to the village (620,573 rows).
create table villages (
    code          char(12) primary key,
    name          varchar(60) not null,
    street_code   char(9) not null references streets,
    province_code char(2) not null references provinces,
    city_code     char(4) not null references cities,
    area_code     char(6) not null references areas
);
create index on villages (street_code);
