<%@ include file="/WEB-INF/common.jspf" %><%@ page buffer="256kb" %><!DOCTYPE html>
<html lang="zh-Hans">
<head><meta charset="UTF-8"><title>科室 - HIS</title><link rel="stylesheet" href="style.css"></head>
<body>
<nav><b>HIS</b> <a href="login.jsp">登录</a> <a href="divisions.jsp">行政区划</a> <a href="departments.jsp">科室</a> <a href="materials.jsp">物料</a></nav>
<h1>科室</h1>
<%  try (Connection db = open()) { %>
<table><tr><th>编码</th><th>名称</th><th>类别</th><th>位置</th></tr>
<%      for (Object[] row : rows(db, "select code, name, kind, place from departments order by code")) { %>
<tr><td><%= html(row[0]) %></td><td><%= html(row[1]) %></td><td><%= html(row[2]) %></td><td><%= html(row[3]) %></td></tr>
<%      } %>
</table>
<p class="note">共 <%= one(db, "select count(*) from departments") %> 个科室</p>
<%  } %>
</body></html>
